using System.CommandLine;
using Blkring.AbiTools.Diff;
using Blkring.AbiTools.Layouts;
using Blkring.Commands;

namespace Blkring.AbiCommands;

/// <summary><c>blkring abi check</c>: whether the specs still say what the headers say.</summary>
internal static class CheckCommand
{
    private static readonly Option<string> s_headers = new("--headers")
    {
        Description = "A tree of Xen's public headers: installed, or xen/include/public of its sources",
        HelpName = "DIR",
        DefaultValueFactory = _ => "/usr/include/xen",
    };

    private static readonly Option<string?> s_spec = new("--spec")
    {
        Description = "The spec to check. Without it: those that Blkring was built from",
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
            Compares specs with Xen's headers, ABI by ABI: what the spec says -> what the header says.
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
        AbiSource[] specs = parsed.GetValue(s_spec) is { } path ? [AbiSource.Read(path)] : Imported();
        string folder = parsed.GetRequiredValue(s_headers);
        AbiModel[] headers = [.. specs.Select(s => Import(folder, s))];
        AbiComparison comparison = AbiComparer.Compare([.. specs.Select(s => s.Model)], headers);
        if (parsed.GetValue(s_json))
            Console.Out.WriteLine(DiffJson.Write(comparison));
        else
            AbiText.WriteComparison(
                comparison,
                $"{string.Join(", ", specs.Select(s => s.Model.Protocol))}: the same as {folder}"
            );
        return comparison.IsIdentical ? ExitCode.Ok : ExitCode.Failed;
    }

    /// <summary>
    /// All the headers that the spec was made from, as the tree has them; of a spec that a person wrote, the one it
    /// names.
    /// </summary>
    private static AbiModel Import(string folder, AbiSource spec)
    {
        IReadOnlyList<string> headers = spec.Headers.Count > 0 ? spec.Headers : [spec.Model.Header];
        return AbiSource.Import([.. headers.Select(h => AbiVersion.Find(folder, h))], spec.Model.Protocol);
    }

    /// <summary>
    /// A spec that a person wrote may leave things out: compared with a whole header it would always differ.
    /// </summary>
    private static AbiSource[] Imported() => [.. AbiSource.Shipped().Where(s => s.Headers.Count > 0)];
}
