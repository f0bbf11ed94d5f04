using System.CommandLine;
using Blkring.AbiTools.Diff;
using Blkring.AbiTools.Layouts;
using Blkring.Commands;

namespace Blkring.AbiCommands;

/// <summary><c>blkring abi check</c>: whether the specs and the headers agree.</summary>
internal static class CheckCommand
{
    private static readonly Option<string> s_headers = new("--headers")
    {
        Description = "A tree of Xen's public headers: the installed one, or xen/include/public of Xen's sources",
        HelpName = "DIR",
        DefaultValueFactory = _ => "/usr/include/xen",
    };

    private static readonly Option<string?> s_spec = new("--spec")
    {
        Description = "The spec to check. Without it: the specs that Blkring was built from",
        HelpName = "FILE",
    };
    private static readonly Option<bool> s_json = new("--json")
    {
        Description = "Print one JSON object instead of lines",
    };

    public static Command Create()
    {
        Command command = new(
            "check",
            """
            Compares specs with Xen's headers, in each ABI. A difference is printed with the value in the spec,
            an arrow, and the value in the header.
            Formats of Blkring's own have no header and are not compared.
            Exit code 0: the same; 1: different; 2: could not compare.

            Example:
              blkring abi check --headers xen/include/public --spec abi/blkif.xml
            """
        )
        {
            s_headers,
            s_spec,
            s_json,
        };
        command.SetAction(Execute);
        return command;
    }

    private static int Execute(ParseResult parsed)
    {
        AbiSource[] specs = parsed.GetValue(s_spec) is { } path ? [WithHeader(path)] : Imported();
        string folder = parsed.GetRequiredValue(s_headers);
        AbiModel[] headers = [.. specs.Select(s => Import(folder, s))];
        AbiComparison comparison = AbiComparer.Compare([.. specs.Select(s => s.Model)], headers);
        if (parsed.GetValue(s_json))
            Console.Out.WriteLine(DiffJson.Write(comparison));
        else
        {
            AbiText.WriteComparison(comparison, $"{NamesOf(specs)}: the same as {folder}");
            if (parsed.GetValue(s_spec) is null)
                AbiText.WriteNotCompared(NamesOf(AbiSource.Shipped().Where(s => s.IsOwn)));
        }
        return comparison.IsIdentical ? ExitCode.Ok : ExitCode.Failed;
    }

    private static string NamesOf(IEnumerable<AbiSource> specs) =>
        string.Join(", ", specs.Select(s => s.Model.Protocol));

    private static AbiSource WithHeader(string path)
    {
        AbiSource spec = AbiSource.Read(path);
        return spec.IsOwn
            ? throw new UsageException(
                $"{path} describes a format of Blkring's own: no header describes it, so there is nothing to compare"
            )
            : spec;
    }

    /// <summary>
    /// The headers in the tree that the spec was imported from. For a spec that was written by hand, the header that it
    /// names.
    /// </summary>
    private static AbiModel Import(string folder, AbiSource spec)
    {
        IReadOnlyList<string> headers = spec.Headers.Count > 0 ? spec.Headers : [spec.Model.Header];
        return AbiSource.Import([.. headers.Select(h => AbiVersion.Find(folder, h))], spec.Model.Protocol);
    }

    /// <summary>
    /// A spec that was written by hand may be incomplete, and would always differ from a whole header.
    /// </summary>
    private static AbiSource[] Imported() => [.. AbiSource.Shipped().Where(s => s.Headers.Count > 0)];
}
