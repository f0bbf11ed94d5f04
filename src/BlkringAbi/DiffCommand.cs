using System.CommandLine;
using Blkring.AbiTools.Diff;
using Blkring.Commands;

namespace Blkring.AbiCommands;

/// <summary><c>blkring abi diff</c>: what changed between two versions, and which changes break the wire.</summary>
internal static class DiffCommand
{
    private static readonly Argument<string> s_old = new("OLD")
    {
        Description = "A spec, a C header, a folder of specs, or a tree of headers (xen/include/public)",
    };
    private static readonly Argument<string> s_new = new("NEW") { Description = "Another version of OLD" };
    private static readonly Option<bool> s_json = new("--json")
    {
        Description = "Print one JSON object instead of lines",
    };

    public static Command Create()
    {
        Command command = new(
            "diff",
            """
            Compares two versions in each ABI, and says which differences are wire-compatible. Two files are taken as
            versions of one protocol, whatever their names.
            Exit code 0: identical; 1: different; 2: something could not be compared. A header of a tree that cannot be
            read is reported as refused, and the others are compared.

            Example:
              blkring abi diff xen-4.17/xen/include/public xen-4.20/xen/include/public
            """
        )
        {
            s_old,
            s_new,
            s_json,
        };
        command.SetAction(parsed =>
        {
            (AbiVersion before, AbiVersion after) = AbiVersion.ReadBoth(
                parsed.GetRequiredValue(s_old),
                parsed.GetRequiredValue(s_new)
            );
            AbiComparison comparison = AbiVersion.Compare(before, after);
            if (parsed.GetValue(s_json))
                Console.Out.WriteLine(DiffJson.Write(comparison));
            else
                AbiText.WriteComparison(comparison, "identical");
            return comparison.Refused.Count > 0 ? ExitCode.Usage
                : comparison.IsIdentical ? ExitCode.Ok
                : ExitCode.Failed;
        });
        return command;
    }
}
