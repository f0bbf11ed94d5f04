using System.Globalization;
using Blkring.Output;
using Spectre.Console;

namespace Blkring.Commands.Demo.Reports;

/// <summary>The report for people: in colour and wrapped on a terminal, plain and never cut anywhere else.</summary>
internal static class DemoText
{
    private const int RoomyWidth = 96;
    private const int FieldIndent = 8;

    private static readonly string[] s_columns =
    [
        "queue\ndepth",
        "\nrequests",
        "\nIOPS",
        "\nMB/s",
        "p50\nµs",
        "p99\nµs",
        "p99.9\nµs",
        "\nverified",
        "bytes\nalloc.",
        "\nGCs",
    ];

    private static readonly IAnsiConsole s_console = TextConsole.Create();

    public static void WriteHead(DemoReport report)
    {
        WriteField("disk", report.Disk);
        WriteField("engine", report.Engine + (report.Options.Processes == 2 ? "; frontend in another process" : ""));
        if (report.Features is { } features)
            WriteField("serves", features);
        foreach (string note in report.Notes)
            WriteField("note", note);
    }

    public static void WriteResults(DemoReport report)
    {
        if (report.Rows.Count > 0)
            s_console.Write(CreateTable(report.Rows));
        if (report.Comparisons.Count > 0)
            s_console.Write(CreateComparison(report.Comparisons));
        if (report.Sweeps.Count > 0)
        {
            long bytes = report.Sweeps.Sum(sweep => sweep.Bytes),
                requests = report.Sweeps.Sum(sweep => sweep.Verified);
            s_console.WriteLine(
                $"read back: {DemoReport.Count(requests)} requests, {bytes / 1_000_000} MB, "
                    + $"in {string.Join(", ", report.Sweeps.Select(sweep => sweep.Abi).Distinct())}: "
                    + "every sector that was written"
            );
        }
        foreach (string fault in report.Faults)
            s_console.WriteLine("fault: " + fault, new Style(Color.Yellow));
        foreach (string problem in report.Problems.Skip(1))
            s_console.WriteLine("also: " + problem, new Style(Color.Red));
        s_console.WriteLine(
            report.Verdict,
            new Style(report.Ok ? Color.Green : Color.Red, decoration: Decoration.Bold)
        );
    }

    /// <summary>Writes one field; on a terminal, a long line continues below its own beginning.</summary>
    private static void WriteField(string name, string text)
    {
        int width = s_console.Profile.Width - FieldIndent - 1;
        TextWriter writer = s_console.Profile.Out.Writer;
        string label = name.PadRight(FieldIndent);
        while (text.Length > width && text.LastIndexOf(' ', width) is > 0 and int end)
        {
            writer.WriteLine(label + text[..end]);
            (label, text) = (new string(' ', FieldIndent), text[(end + 1)..]);
        }
        writer.WriteLine(label + text);
    }

    private static Table CreateTable(IReadOnlyList<DemoRow> rows)
    {
        Table table = new() { Border = TableBorder.Simple, UseSafeBorder = true };
        // It must fit into 80 columns; if there is more room, the columns have wider gaps.
        int gap = s_console.Profile.Width < RoomyWidth ? 0 : 1;
        table.AddColumn(new TableColumn("\nABI").NoWrap().PadLeft(0).PadRight(0));
        foreach (string name in s_columns)
            table.AddColumn(new TableColumn(name).RightAligned().NoWrap().PadLeft(gap).PadRight(0));
        string? abi = null;
        foreach (DemoRow row in rows)
        {
            if (abi is not null && row.Abi != abi)
                table.AddEmptyRow();
            table.AddRow(
                row.Abi == abi ? "" : row.Abi,
                Text(row.IoDepth),
                Text(row.Operations),
                Text(row.Iops),
                Text(row.MegabytesPerSecond),
                Text(row.P50Us),
                Text(row.P99Us),
                Text(row.P999Us),
                Mark(Text(row.Verified), row.Verified == row.Operations),
                Mark(Text(row.AllocatedBytes), row.AllocatedBytes == 0),
                Mark(Text(row.Collections), row.Collections == 0)
            );
            abi = row.Abi;
        }
        return table;
    }

    /// <summary>Two lines per feature: with it, and without it.</summary>
    private static Table CreateComparison(IReadOnlyList<DemoComparisonRow> rows)
    {
        Table table = new() { Border = TableBorder.Simple, UseSafeBorder = true };
        int gap = s_console.Profile.Width < RoomyWidth ? 0 : 1;
        foreach (string name in (string[])["feature", ""])
            table.AddColumn(new TableColumn(name).NoWrap().PadLeft(0).PadRight(gap));
        foreach (string name in (string[])["rate", "p50 µs", "p99 µs", "ratio", "verified", "alloc."])
            table.AddColumn(new TableColumn(name).RightAligned().NoWrap().PadLeft(gap).PadRight(0));
        foreach (DemoComparisonRow row in rows)
        {
            if (row != rows[0])
                table.AddEmptyRow();
            table.AddRow(
                row.Feature,
                row.With,
                $"{Text(row.RateWith)} {row.Unit}",
                Text(row.P50UsWith),
                Text(row.P99UsWith),
                $"[bold]{row.Ratio.ToString("F2", CultureInfo.InvariantCulture)}[/]",
                Text(row.Verified),
                Mark(Text(row.AllocatedBytes), row.AllocatedBytes == 0)
            );
            table.AddRow(
                row.Abi,
                row.Without,
                $"{Text(row.RateWithout)} {row.Unit}",
                Text(row.P50UsWithout),
                Text(row.P99UsWithout),
                "",
                "",
                ""
            );
        }
        return table;
    }

    // Of latencies and rates, no more than three digits are reproducible.
    private static string Text(double value) =>
        value.ToString(value < 100 && value != Math.Floor(value) ? "N1" : "N0", CultureInfo.InvariantCulture);

    private static string Mark(string text, bool good) => good ? $"[green]{text}[/]" : $"[bold red]{text}[/]";
}
