using System.CommandLine;
using Blkring.AbiTools.Diff;
using Blkring.AbiTools.Layouts;
using Blkring.Output;

namespace Blkring.Commands.Abi;

/// <summary><c>blkring abi diff</c>: what changed between two versions, and what of it breaks the wire.</summary>
internal static class DiffCommand
{
    private static readonly Argument<string> s_old = new("OLD") { Description = "A spec, or a folder of specs" };
    private static readonly Argument<string> s_new = new("NEW") { Description = "The same in another version" };
    private static readonly Option<bool> s_json = new("--json") { Description = "Print one JSON object instead of lines" };

    public static Command Create()
    {
        Command command = new("diff", """
            Compares two versions, ABI by ABI, and says what is wire-compatible and what is not.
            Exit code 0: identical; 1: different; 2: could not compare.

            Example:
              blkring abi diff old/blkif.xml abi/blkif.xml
            """)
        {
            s_old, s_new, s_json,
        };
        command.SetAction(parsed =>
        {
            AbiComparison comparison = AbiComparer.Compare(Read(parsed.GetRequiredValue(s_old)), Read(parsed.GetRequiredValue(s_new)));
            if (parsed.GetValue(s_json)) Console.Out.WriteLine(DiffJson.Write(comparison));
            else AbiText.WriteComparison(comparison, "identical");
            return comparison.IsIdentical ? ExitCode.Ok : ExitCode.Failed;
        });
        return command;
    }

    private static AbiModel[] Read(string path)
    {
        if (!Directory.Exists(path)) return [AbiSource.Read(path).Model];
        string[] specs = [.. Directory.EnumerateFiles(path, "*.xml").Order(StringComparer.Ordinal)];
        if (specs.Length == 0) throw new UsageException($"{path} holds no spec (*.xml): name a folder of specs, or one spec");
        return [.. specs.Select(spec => AbiSource.Read(spec).Model)];
    }
}
