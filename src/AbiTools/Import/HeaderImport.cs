using System.Globalization;
using System.Text;
using Blkring.Generators.Diagnostics;
using Blkring.Generators.Model;
using Blkring.Generators.Parsing;
using Microsoft.CodeAnalysis.Text;

namespace Blkring.AbiTools.Import;

/// <summary>What to import.</summary>
public sealed class ImportOptions
{
    /// <summary>Paths of C headers. The first gives the spec its name and its words.</summary>
    public required IReadOnlyList<string> Headers { get; init; }

    /// <summary>Folders to search for included headers, besides those of the headers themselves.</summary>
    public IReadOnlyList<string> IncludeFolders { get; init; } = [];

    /// <summary>The protocol's name; null for the first header's.</summary>
    public string? Name { get; init; }

    /// <summary>
    /// Whether nothing will be generated from it: then a hint that matches nothing, or a ring without one decoded
    /// message, is a difference to be told and no error.
    /// </summary>
    public bool IsForComparison { get; init; }
}

/// <summary>
/// C headers to a spec: what a compiler for each target sees, merged, and proved against the generator's layout rules.
/// </summary>
public static class HeaderImport
{
    // More collisions of names than any protocol has; each try resolves one.
    private const int MaxRenames = 1000;

    private const string LibClangErrorLimit = "-ferror-limit=0";

    /// <summary>The spec's XML. The same headers give the same text, byte for byte.</summary>
    /// <exception cref="HeaderImportException">
    /// The headers do not compile, or a struct has no layout that a spec can say.
    /// </exception>
    /// <exception cref="LibClangMissingException">libclang is not installed.</exception>
    public static string Import(ImportOptions options)
    {
        LibClang.Require();
        string[] headers = [.. options.Headers.Select(Existing)];
        if (options.IncludeFolders.FirstOrDefault(folder => !Directory.Exists(folder)) is { } missing)
            throw new HeaderImportException($"{missing} is no folder: -I names one that holds headers");
        if (headers.Length == 0)
            throw new HeaderImportException("no header was given; name at least one");
        string name = options.Name ?? HeaderNames.Protocol(headers[0]);
        if (!CName.IsIdentifier(name))
            throw new HeaderImportException($"'{name}' is no name for a protocol; it must be a C identifier");
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

    /// <summary>The name of a header's protocol when none is given.</summary>
    public static string ProtocolOf(string header) => HeaderNames.Protocol(header);

    private static string Existing(string path)
    {
        string full = Path.GetFullPath(path);
        if (Directory.Exists(full))
            throw new HeaderImportException($"{path} is a folder: name the headers of one protocol");
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
            // Headers of before Xen 4.0 leave it to their user to include what they need, and those of before 3.0 to
            // have Linux's integers; those of Linux's drivers also need grant references.
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
            // Headers of before Xen 4.2 know no Arm, and say so.
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
        // __XEN_TOOLS__: the latest interface, where the structs have their documented names.
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

    private static string Write(
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
        for (int tries = 0; ; tries++)
        {
            string text = SpecWriter.Write(name, names, doc, CommentText.CopyrightLines(head), merged, hints, renamed);
            SpecReading reading = SpecReader.Read(
                names[0],
                SourceText.From(text, Encoding.UTF8),
                CancellationToken.None,
                checksRings: !isForComparison
            );
            if (reading.Spec is { } spec)
            {
                LayoutProof.Check(spec, models);
                if (!isForComparison)
                    hints.Check(
                        headers[0],
                        n => spec.Constants.Any(c => c.Name == n) || spec.Composites.Any(c => c.Name == n)
                    );
                return text;
            }
            DiagnosticInfo problem = reading.Problems[0];
            var at = SpecElement.At(text, problem.At.Span.Start);
            if (tries == MaxRenames || !Rename(problem, at, merged, renamed))
                throw new HeaderImportException(
                    $"{PlaceOf(at, merged) ?? headers[0]}: {problem.ToDiagnostic().GetMessage()} ({problem.Descriptor.Id})"
                );
        }
    }

    /// <summary>
    /// C names that are one in C#, or no name there: one gets another C# name, which the spec shows. _NETTXF_more_data
    /// is told from NETTXF_more_data in C# as it is in C; of other names the later gets a number. False where that is
    /// not what is wrong.
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

    /// <summary>Where the headers have what an element of the spec is of; null for what is of no one place.</summary>
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
