using System.Globalization;
using Blkring.Generators.Diagnostics;
using Blkring.Generators.Layout;
using Blkring.Generators.Model;

namespace Blkring.AbiTools.Import;

/// <summary>What to import.</summary>
public sealed class ImportOptions
{
    /// <summary>Paths of C headers. The spec takes its name and its documentation from the first.</summary>
    public required IReadOnlyList<string> Headers { get; init; }

    /// <summary>Folders to search for included headers, besides the headers' own folders.</summary>
    public IReadOnlyList<string> IncludeFolders { get; init; } = [];

    /// <summary>The protocol's name; null for the first header's.</summary>
    public string? Name { get; init; }

    /// <summary>
    /// True if no code will be generated from the spec. Then a hint that matches nothing, or a ring whose requests
    /// cannot be decoded into one message, is a difference to report and not an error.
    /// </summary>
    public bool IsForComparison { get; init; }
}

/// <summary>
/// Turns C headers into a spec: reads them as a compiler for each target does, merges the results, and proves the spec
/// against the compiler's layouts.
/// </summary>
public static class HeaderImport
{
    // More name collisions than any protocol has. Each try resolves one.
    private const int MaxRenames = 1000;

    private const string LibClangErrorLimit = "-ferror-limit=0";

    /// <summary>Returns the spec's XML. The same headers give the same text, byte for byte.</summary>
    /// <exception cref="HeaderImportException">
    /// The headers do not compile, or a struct has a layout that a spec cannot express.
    /// </exception>
    /// <exception cref="LibClangMissingException">libclang is not installed.</exception>
    public static string Import(ImportOptions options) => Run(options).Text;

    /// <summary>Returns the same text with the model that was proved.</summary>
    internal static ImportedSpec Run(ImportOptions options)
    {
        LibClang.Require();
        string[] headers = [.. options.Headers.Select(Existing)];
        if (options.IncludeFolders.FirstOrDefault(folder => !Directory.Exists(folder)) is { } missing)
            throw new HeaderImportException($"{missing} is not a folder: give -I a folder of headers");
        if (headers.Length == 0)
            throw new HeaderImportException("no header was given; give at least one");
        string name = options.Name ?? HeaderNames.Protocol(headers[0]);
        if (!CName.IsIdentifier(name))
            throw new HeaderImportException($"'{name}' cannot be the name of a protocol; give a C identifier");
        var sources = new HeaderSources();
        Hints hints = Hints.For(name, options.IsForComparison);

        List<HeaderModel> models = ReadAll(headers, options.IncludeFolders, sources, hints);
        MergedHeaders merged = TargetMerge.Merge(models);
        if (merged.Types.Count == 0 && merged.Constants.Count == 0)
        {
            string instead = models[0].HasFunctionMacros
                ? ", only macros with parameters: import a header that uses them"
                : "";
            throw new HeaderImportException(
                $"{headers[0]}: the header defines no struct, union, enum or constant{instead}"
            );
        }
        return Write(name, headers, sources, merged, hints, models, options.IsForComparison);
    }

    /// <summary>The name of a header's protocol if none is given.</summary>
    public static string ProtocolOf(string header) => HeaderNames.Protocol(header);

    private static string Existing(string path)
    {
        string full = Path.GetFullPath(path);
        if (Directory.Exists(full))
            throw new HeaderImportException($"{path} is a folder: give the headers of one protocol");
        if (!File.Exists(full))
            throw new HeaderImportException($"{path}: there is no such file");
        try
        {
            using FileStream readable = File.OpenRead(full);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new HeaderImportException($"{path} cannot be read: {error.Message}");
        }
        return full;
    }

    private static List<HeaderModel> ReadAll(
        string[] headers,
        IReadOnlyList<string> includeFolders,
        HeaderSources sources,
        Hints hints
    )
    {
        string[] more = [.. hints.Headers.Select(h => HeaderNames.Beside(headers[0], h)).OfType<string>()];
        using var system = new SystemHeaders();
        string includes = string.Concat(headers.Concat(more).Select(h => $"#include \"{h}\"\n"));
        if (!Compiles(includes, system, includeFolders) && HeaderNames.Beside(headers[0], "xen/xen.h") is { } xen)
        {
            // Headers older than Xen 4.0 do not include what they need, and those older than 3.0 also need Linux's
            // integer types. The headers of Linux's drivers need grant references too.
            string needed = $"#include <errno.h>\n{SystemHeaders.LinuxIntegers}#include \"{xen}\"\n";
            string grants = HeaderNames.Beside(headers[0], "xen/grant_table.h") is { } header
                ? $"#include \"{header}\"\n"
                : "";
            includes =
                new[] { needed + includes, needed + grants + includes }.FirstOrDefault(text =>
                    Compiles(text, system, includeFolders)
                ) ?? includes;
        }
        var models = new List<HeaderModel>();
        bool isOfX86 = HeaderNames.Of(headers[0]).StartsWith("xen/arch-x86", StringComparison.Ordinal);
        foreach (Target target in Target.All.Where(t => !t.IsArm || !isOfX86))
        {
            string[] arguments = [.. Arguments(target, system.Folder, includeFolders)];
            string source = Path.Combine(system.Folder, "import.c");
            File.WriteAllText(source, includes);
            using TranslationUnit unit = TranslationUnit.Parse(source, arguments);
            IReadOnlyList<ClangError> errors = unit.Errors();
            // Headers older than Xen 4.2 do not support Arm and stop the compiler with an error.
            if (target.IsArm && errors.Any(e => e.Message.Contains("arch", StringComparison.OrdinalIgnoreCase)))
                continue;
            if (errors.Count > 0)
                throw new HeaderImportException($"{errors[0].At}: {errors[0].Message} (for {target.Triple})");
            IReadOnlyList<Macro> macros = MacroReader.Macros(unit, headers.Concat(more).ToHashSet(), sources);
            var values = MacroReader.Values(macros, includes, Path.Combine(system.Folder, "values.c"), arguments);
            models.Add(HeaderReader.Read(target, unit, sources, headers.ToHashSet(), hints, macros, values));
        }
        return models;
    }

    private static bool Compiles(string includes, SystemHeaders system, IReadOnlyList<string> includeFolders)
    {
        string source = Path.Combine(system.Folder, "try.c");
        File.WriteAllText(source, includes);
        using TranslationUnit unit = TranslationUnit.Parse(
            source,
            [.. Arguments(Target.All[0], system.Folder, includeFolders)]
        );
        return unit.Errors().Count == 0;
    }

    private static IEnumerable<string> Arguments(
        Target target,
        string systemFolder,
        IReadOnlyList<string> includeFolders
    )
    {
        // __XEN_TOOLS__ selects the latest interface, in which structs have their documented names.
        string[] fixedOnes =
        [
            "-target",
            target.Triple,
            "-xc",
            "-std=gnu11",
            "-nostdinc",
            "-D__XEN_TOOLS__",
            "-w",
            LibClangErrorLimit,
            "-include",
            Path.Combine(systemFolder, "stdint.h"),
        ];
        return
        [
            .. fixedOnes,
            .. includeFolders.Select(f => "-I" + Path.GetFullPath(f)),
            "-isystem",
            systemFolder,
            "-idirafter",
            "/usr/include",
        ];
    }

    private static ImportedSpec Write(
        string name,
        string[] headers,
        HeaderSources sources,
        MergedHeaders merged,
        Hints hints,
        IReadOnlyList<HeaderModel> models,
        bool isForComparison
    )
    {
        string[] names = [.. headers.Select(HeaderNames.Of)];
        List<string> head = [.. sources.Comments(headers[0]).Head];
        string doc = hints.Doc(name) ?? CommentText.Description(head, Path.GetFileName(headers[0]));
        var renamed = new Dictionary<string, string>(StringComparer.Ordinal);
        // Rings that the generator could not handle can still be compared.
        Func<ProtocolSpec, LayoutResult> layOut = isForComparison
            ? LayoutCalculator.CalculateTypes
            : LayoutCalculator.Calculate;
        for (int tries = 0; ; tries++)
        {
            string text = SpecWriter.Write(name, names, doc, CommentText.CopyrightLines(head), merged, hints, renamed);
            if (SpecFile.Read(names[0], text, layOut, out DiagnosticInfo? problem) is { } spec)
            {
                LayoutProof.Check(spec, models);
                if (!isForComparison)
                    hints.Check(
                        headers[0],
                        n => spec.Spec.Constants.Any(c => c.Name == n) || spec.Spec.Composites.Any(c => c.Name == n)
                    );
                return new ImportedSpec(text, spec);
            }
            var at = SpecElement.At(text, problem!.At.Span.Start);
            if (tries == MaxRenames || !Rename(problem, at, merged, renamed))
                throw new HeaderImportException(
                    $"{PlaceOf(at, merged) ?? headers[0]}: "
                        + $"{problem.ToDiagnostic().GetMessage()} ({problem.Descriptor.Id})"
                );
        }
    }

    /// <summary>
    /// Resolves C names that are the same in C#, or not valid there: one gets another C# name, which the spec shows.
    /// _NETTXF_more_data keeps its underscore in C#, so that it differs from NETTXF_more_data. Other names get a
    /// number: the later of the two. False if the problem is not a collision of names.
    /// </summary>
    private static bool Rename(
        DiagnosticInfo problem,
        SpecElement at,
        MergedHeaders merged,
        Dictionary<string, string> renamed
    )
    {
        bool isNoName = problem.Descriptor == Descriptors.NotACSharpName;
        if (!isNoName && problem.Descriptor != Descriptors.NameCollision)
            return false;
        string csharp = problem.Arguments[1];
        string underscored = "_" + at.Name;
        (string name, string? key) = at.Kind switch
        {
            "member" => (at.Name, SpecWriter.KeyOfMember(at.Owner, at.Name)),
            "constant" when merged.Constants.Any(c => c.Name == underscored) && !renamed.ContainsKey(underscored) => (
                underscored,
                underscored
            ),
            "constant" => (at.Name, at.Name),
            "struct" or "union" => (at.Name, SpecWriter.KeyOfType(at.Name)),
            _ => ("", null),
        };
        if (key is null)
            return false;
        renamed[key] =
            renamed.ContainsKey(key) ? NextNumber(csharp)
            : name.StartsWith('_') || isNoName ? "_" + csharp
            : csharp + "_2";
        return true;
    }

    private static string NextNumber(string name) =>
        name.LastIndexOf('_') is var at and >= 0
        && int.TryParse(name.AsSpan(at + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int number)
            ? string.Create(CultureInfo.InvariantCulture, $"{name[..at]}_{number + 1}")
            : name + "_2";

    /// <summary>
    /// The place in the headers from which an element of the spec comes; null if there is no single place.
    /// </summary>
    private static string? PlaceOf(SpecElement at, MergedHeaders merged)
    {
        if (at.Kind == "constant")
            return merged.Constants.FirstOrDefault(c => c.Name == at.Name)?.At.ToString();
        string type = at.Owner.Length > 0 ? at.Owner : at.Name;
        if (merged.Types.FirstOrDefault(t => t.Type.Name == type) is not { } found)
            return null;
        HeaderMember? member =
            at.Owner.Length > 0 ? found.Members.FirstOrDefault(m => m.Member.Name == at.Name)?.Member : null;
        return member is null ? found.Type.At.ToString() : $"{member.At}: {type}.{member.Name}";
    }
}

/// <summary>The XML of a spec and what it means.</summary>
internal sealed record ImportedSpec(string Text, LaidOutSpec Spec);
