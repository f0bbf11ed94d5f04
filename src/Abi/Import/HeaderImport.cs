using System.Text;
using Blkring.AbiTools.Import;
using Blkring.Generators.Diagnostics;
using Blkring.Generators.Model;
using Blkring.Generators.Parsing;
using Microsoft.CodeAnalysis.Text;

namespace Blkring.AbiTools;

/// <summary>What to import.</summary>
public sealed class ImportOptions
{
    /// <summary>Paths of C headers. The first gives the spec its name and its words.</summary>
    public required IReadOnlyList<string> Headers { get; init; }

    /// <summary>Folders to search for included headers, besides those of the headers themselves.</summary>
    public IReadOnlyList<string> IncludeFolders { get; init; } = [];

    /// <summary>The protocol's name; null for the first header's.</summary>
    public string? Name { get; init; }

    /// <summary>Whether a hint that matches nothing is an error. Not where headers are only compared: that tells what is gone.</summary>
    public bool ChecksHints { get; init; } = true;
}

/// <summary>C headers to a spec: what a compiler for each target sees, merged, and proved against the generator's layout rules.</summary>
public static class HeaderImport
{
    // More collisions of names than any protocol has; each try resolves one.
    private const int MaxRenames = 1000;

    private const string LibClangErrorLimit = "-ferror-limit=0";

    /// <summary>The spec's XML. The same headers give the same text, byte for byte.</summary>
    /// <exception cref="HeaderImportException">The headers do not compile, or a struct has no layout that a spec can say.</exception>
    /// <exception cref="LibClangMissingException">libclang is not installed.</exception>
    public static string Import(ImportOptions options)
    {
        LibClang.Require();
        string[] headers = [.. options.Headers.Select(Existing)];
        if (headers.Length == 0)
            throw new HeaderImportException("no header was given; name at least one");
        string name = options.Name ?? HeaderNames.Protocol(headers[0]);
        if (!CName.IsIdentifier(name))
            throw new HeaderImportException($"'{name}' is no name for a protocol; it must be a C identifier");
        var sources = new HeaderSources();
        Hints hints = Hints.For(name);

        List<HeaderModel> models = ReadAll(headers, options.IncludeFolders, sources, hints);
        MergedHeaders merged = TargetMerge.Merge(models);
        if (merged.Types.Count == 0 && merged.Constants.Count == 0)
        {
            string instead = models[0].HasFunctionMacros ? ", only macros with parameters: import a header that uses them" : "";
            throw new HeaderImportException($"{headers[0]}: the header defines no struct, union, enum or constant{instead}");
        }
        return Write(name, headers, sources, merged, hints, models, options.ChecksHints);
    }

    /// <summary>The name of a header's protocol when none is given.</summary>
    public static string ProtocolOf(string header) => HeaderNames.Protocol(header);

    private static string Existing(string path)
    {
        string full = Path.GetFullPath(path);
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

    private static List<HeaderModel> ReadAll(string[] headers, IReadOnlyList<string> includeFolders, HeaderSources sources, Hints hints)
    {
        string[] more = [.. hints.Headers.Select(h => HeaderNames.Beside(headers[0], h)).OfType<string>()];
        using var system = new SystemHeaders();
        string includes = string.Concat(headers.Concat(more).Select(h => $"#include \"{h}\"\n"));
        if (!Compiles(includes, system, includeFolders) && HeaderNames.Beside(headers[0], "xen/xen.h") is { } xen)
        {
            // Headers of before Xen 4.0 leave it to their user to include what they need, and those of before 3.0 to have Linux's integers.
            string needed = $"#include <errno.h>\n{SystemHeaders.LinuxIntegers}#include \"{xen}\"\n" + includes;
            if (Compiles(needed, system, includeFolders))
                includes = needed;
        }
        var models = new List<HeaderModel>();
        foreach (Target target in Target.All)
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
        using TranslationUnit unit = TranslationUnit.Parse(source, [.. Arguments(Target.All[0], system.Folder, includeFolders)]);
        return unit.Errors().Count == 0;
    }

    private static IEnumerable<string> Arguments(Target target, string systemFolder, IReadOnlyList<string> includeFolders)
    {
        // __XEN_TOOLS__: the latest interface, where the structs have their documented names.
        string[] fixedOnes =
            ["-target", target.Triple, "-xc", "-std=gnu11", "-nostdinc", "-D__XEN_TOOLS__", "-w", LibClangErrorLimit, "-include", Path.Combine(systemFolder, "stdint.h")];
        return [.. fixedOnes, .. includeFolders.Select(f => "-I" + Path.GetFullPath(f)), "-isystem", systemFolder, "-idirafter", "/usr/include"];
    }

    private static string Write(
        string name, string[] headers, HeaderSources sources, MergedHeaders merged, Hints hints, IReadOnlyList<HeaderModel> models, bool checksHints)
    {
        string[] names = [.. headers.Select(HeaderNames.Of)];
        List<string> head = [.. sources.Comments(headers[0]).Head];
        string doc = hints.Doc(name) ?? CommentText.Description(head, Path.GetFileName(headers[0]));
        var renamed = new Dictionary<string, string>(StringComparer.Ordinal);
        while (true)
        {
            string text = SpecWriter.Write(name, names, doc, CommentText.CopyrightLines(head), merged, hints, renamed);
            SpecReading reading = SpecReader.Read(names[0], SourceText.From(text, Encoding.UTF8), CancellationToken.None);
            if (reading.Spec is { } spec)
            {
                LayoutProof.Check(spec, models);
                if (checksHints)
                    hints.Check(headers[0], n => spec.Constants.Any(c => c.Name == n) || spec.Composites.Any(c => c.Name == n));
                return text;
            }
            DiagnosticInfo problem = reading.Problems[0];
            if (problem.Descriptor != Descriptors.NameCollision || renamed.Count == MaxRenames || !Rename(problem, text, merged, renamed))
                throw new HeaderImportException($"{At(problem, merged, headers[0])}: {problem.ToDiagnostic().GetMessage()} ({problem.Descriptor.Id})");
        }
    }

    /// <summary>
    /// Two C names that are one in C#: one of them gets another, which the spec shows. _NETTXF_more_data is told from NETTXF_more_data
    /// in C# as it is in C; of other names the later gets a number.
    /// </summary>
    private static bool Rename(DiagnosticInfo problem, string text, MergedHeaders merged, Dictionary<string, string> renamed)
    {
        string name = problem.Arguments[0];
        string csharp = problem.Arguments[1];
        if (OwnerOf(problem, text) is { } owner)
            return renamed.TryAdd($"{owner}.{name}", name.StartsWith('_') ? "_" + csharp : csharp + "_2");
        string? which = new[] { "_" + name, name }
            .FirstOrDefault(n => !renamed.ContainsKey(n) && (merged.Constants.Any(c => c.Name == n) || merged.Types.Any(t => t.Type.Name == n)));
        return which is not null && renamed.TryAdd(which, which.StartsWith('_') ? "_" + csharp : csharp + "_2");
    }

    /// <summary>The type within whose element a problem of the spec lies; null when it is about the whole type or no type.</summary>
    private static string? OwnerOf(DiagnosticInfo problem, string text)
    {
        string before = text[..problem.At.Span.Start];
        int type = Math.Max(before.LastIndexOf(SpecWriter.StructElement, StringComparison.Ordinal), before.LastIndexOf(SpecWriter.UnionElement, StringComparison.Ordinal));
        int member = before.LastIndexOf(SpecWriter.MemberElement, StringComparison.Ordinal);
        if (type < 0 || member < type)
            return null;
        int name = text.IndexOf('"', type) + 1;
        return text[name..text.IndexOf('"', name)];
    }

    /// <summary>Where the header has the name that a diagnostic of the spec is about.</summary>
    private static string At(DiagnosticInfo problem, MergedHeaders merged, string header)
    {
        string name = problem.Arguments.Count > 0 ? problem.Arguments[0] : "";
        Place? at = merged.Types.FirstOrDefault(t => t.Type.Name == name)?.Type.At
            ?? merged.Types.SelectMany(t => t.Members).FirstOrDefault(m => m.Member.Name == name)?.Member.At
            ?? merged.Constants.FirstOrDefault(c => c.Name == name)?.At;
        return at?.ToString() ?? header;
    }
}
