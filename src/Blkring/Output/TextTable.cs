using Spectre.Console;

namespace Blkring.Output;

/// <summary>Tables for people: one row per line, never wrapped.</summary>
internal static class TextTable
{
    public static Table Create(string[] columns, params string[] rightAligned)
    {
        Table table = new() { Border = TableBorder.Simple, UseSafeBorder = true };
        foreach (string name in columns)
        {
            TableColumn column = new TableColumn(name).NoWrap().PadLeft(0).PadRight(1);
            table.AddColumn(rightAligned.Contains(name) ? column.RightAligned() : column);
        }
        return table;
    }

    /// <summary>Adds a row of plain text: a text from a guest, from xenstore or from a file is never markup.</summary>
    public static void AddText(this Table table, params ReadOnlySpan<string> cells) =>
        table.AddRow([.. cells.ToArray().Select(Markup.Escape)]);
}
