using System.Globalization;
using Blkring.AbiTools.Diff;
using Blkring.AbiTools.Layouts;
using Blkring.Output;
using Spectre.Console;

namespace Blkring.AbiCommands;

/// <summary>Prints layouts and their differences for people.</summary>
internal static class AbiText
{
    private static readonly IAnsiConsole s_console = TextConsole.Create();

    public static void WriteLayouts(IReadOnlyList<AbiModel> models, AbiSelection selection)
    {
        foreach (AbiStruct type in models.SelectMany(selection.Of))
        {
            s_console.WriteLine(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{type.CName}, {type.Abi}: {type.Size} bytes, aligned to {type.Alignment}"
                ),
                new Style(decoration: Decoration.Bold)
            );
            s_console.Write(CreateTable(type));
        }
    }

    private static Table CreateTable(AbiStruct type)
    {
        Table table = new() { Border = TableBorder.Simple, UseSafeBorder = true };
        table
            .AddColumn(new TableColumn("offset").RightAligned().NoWrap())
            .AddColumn(new TableColumn("size").RightAligned().NoWrap());
        table
            .AddColumn(new TableColumn("member").NoWrap())
            .AddColumn(new TableColumn("type").NoWrap())
            .AddColumn("meaning");
        int end = 0;
        foreach (AbiMember member in type.Members)
        {
            if (!type.IsUnion && member.Offset > end)
                AddGap(table, end, member.Offset);
            string place = Number(member.Offset),
                size = Number(member.Size),
                form = member.Type;
            // The width as C writes it. The offset of a bit field is a byte and a bit in that byte.
            if (member is { BitOffset: { } bit, BitWidth: { } width })
                (place, size, form) = (
                    $"{place}.{Number(bit)}",
                    width == 1 ? "1 bit" : $"{Number(width)} bits",
                    $"{form} : {Number(width)}"
                );
            table.AddRow(place, size, Markup.Escape(member.Name), Markup.Escape(form), Markup.Escape(member.Doc));
            end = Math.Max(end, member.End);
        }
        if (type.Size > end)
            AddGap(table, end, type.Size);
        return table;
    }

    private static void AddGap(Table table, int from, int to) =>
        table.AddRow(Number(from), Number(to - from), "[dim](gap)[/]", "", "");

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    /// <summary>One line per difference. ABIs with the same difference share a line.</summary>
    public static void WriteComparison(AbiComparison comparison, string identical)
    {
        foreach (var line in comparison.Differences.GroupBy(d => (d.Protocol, d.Subject, d.Text, d.IsWireCompatible)))
        {
            string abis = string.Join(", ", line.Select(d => d.Abi).OfType<string>());
            string verdict = line.Key.IsWireCompatible ? "compatible  " : "incompatible";
            string suffix = abis.Length > 0 ? $" ({abis})" : "";
            s_console.WriteLine(
                $"{verdict}  {line.Key.Protocol}: {line.Key.Subject}{suffix}: {line.Key.Text}",
                new Style(line.Key.IsWireCompatible ? Color.Default : Color.Red)
            );
        }
        foreach (AbiRefusal refusal in comparison.Refused)
            s_console.WriteLine($"refused       {refusal.Protocol}: {refusal.Message}", new Style(Color.Red));
        s_console.WriteLine(
            comparison.IsIdentical && comparison.Refused.Count > 0 ? $"{identical}, except what was refused"
                : comparison.IsIdentical ? identical
                : comparison.IsWireCompatible ? "different, and wire-compatible: the two understand each other"
                : "different, and not wire-compatible: the two would misread each other",
            new Style(
                comparison.IsIdentical ? Color.Green
                    : comparison.IsWireCompatible ? Color.Yellow
                    : Color.Red,
                decoration: Decoration.Bold
            )
        );
    }

    /// <param name="protocols">The formats of Blkring's own.</param>
    public static void WriteNotCompared(string protocols) =>
        s_console.WriteLine($"not compared: {protocols} (formats of Blkring's own, without a header)");
}
