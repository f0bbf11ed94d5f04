using System.Globalization;
using Spectre.Console;

namespace Blkring.Load;

/// <summary>
/// One row of a table: Blkring and a baseline, measured in turn, several times. Each ratio is that of one pair, so that
/// a machine that slows down slows both sides.
/// </summary>
/// <param name="what">What Blkring does.</param>
/// <param name="baseline">What it is compared with.</param>
/// <param name="target">The least ratio that is acceptable; null if there is none.</param>
internal sealed class Comparison(string what, string baseline, double? target)
{
    private readonly List<(double Ours, double Baseline)> _pairs = [];

    public string What => what;

    public void Add(double ours, double theirs) => _pairs.Add((ours, theirs));

    public double MedianRatio => Median(_pairs.Select(pair => pair.Ours / pair.Baseline));

    public bool Holds => target is null || MedianRatio >= target;

    /// <returns>The exit code: 1 if a target is missed.</returns>
    public static int Report(string title, IReadOnlyList<Comparison> comparisons, IEnumerable<string> notes, bool json)
    {
        if (json)
            PrintJson(title, comparisons, notes);
        else
            Draw(title, comparisons, notes);
        return comparisons.All(comparison => comparison.Holds) ? 0 : 1;
    }

    private static void Draw(string title, IReadOnlyList<Comparison> comparisons, IEnumerable<string> notes)
    {
        Table table = new Table().Border(TableBorder.Simple).Title(title);
        table.AddColumn("load");
        table.AddColumn("baseline");
        foreach (string column in new[] { "Blkring/s", "baseline/s", "ratio", "min", "max", "target" })
            table.AddColumn(new TableColumn(column).RightAligned());
        foreach (Comparison c in comparisons)
        {
            table.AddRow(
                Markup.Escape(c.What),
                Markup.Escape(c.Baseline),
                Thousands(Median(c._pairs.Select(p => p.Ours))),
                Thousands(Median(c._pairs.Select(p => p.Baseline))),
                Ratio(c.MedianRatio),
                Ratio(c._pairs.Min(p => p.Ours / p.Baseline)),
                Ratio(c._pairs.Max(p => p.Ours / p.Baseline)),
                c.Target is { } least ? (c.Holds ? "ok, " : "MISSED, ") + Ratio(least) : "none"
            );
        }
        Output.Draw(table);
        foreach (string note in notes)
            Console.WriteLine(note);
    }

    private string Baseline => baseline;
    private double? Target => target;

    // The field "mark" is the baseline: its name is older than the word.
    private static void PrintJson(string title, IReadOnlyList<Comparison> comparisons, IEnumerable<string> notes) =>
        Output.PrintJson(writer =>
        {
            writer.WriteString("title", title);
            writer.WriteStartArray("comparisons");
            foreach (Comparison c in comparisons)
            {
                writer.WriteStartObject();
                writer.WriteString("load", c.What);
                writer.WriteString("mark", c.Baseline);
                if (c.Target is { } least)
                    writer.WriteNumber("target", least);
                writer.WriteNumber("medianRatio", c.MedianRatio);
                writer.WriteBoolean("holds", c.Holds);
                writer.WriteStartArray("pairs");
                foreach ((double ours, double theirs) in c._pairs)
                {
                    writer.WriteStartObject();
                    writer.WriteNumber("blkring", ours);
                    writer.WriteNumber("mark", theirs);
                    writer.WriteEndObject();
                }
                writer.WriteEndArray();
                writer.WriteEndObject();
            }
            writer.WriteEndArray();
            writer.WriteStartArray("notes");
            foreach (string note in notes)
                writer.WriteStringValue(note);
            writer.WriteEndArray();
        });

    public static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length == 0 ? 0 : (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    private static string Thousands(double value) => value.ToString("N0", CultureInfo.InvariantCulture);

    private static string Ratio(double value) => value.ToString("F2", CultureInfo.InvariantCulture);
}
