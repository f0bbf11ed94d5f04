using System.Globalization;

namespace Blkring.Settings;

/// <summary>Lists of CPUs as the kernel writes them: 0,2-3.</summary>
internal static class CpuList
{
    /// <summary>No kernel is built for more.</summary>
    private const int MaxCpu = 8191;

    public static string? Complain(string text) => TryParse(text, out _) ? null : "give CPU numbers and ranges: 0,2-3";

    /// <summary>Ascending as written; empty for an empty text.</summary>
    public static IReadOnlyList<int> Parse(string text) =>
        text.Length == 0 ? []
        : TryParse(text, out List<int> cpus) ? cpus
        : throw new FormatException($"'{text}' is no list of CPUs");

    private static bool TryParse(string text, out List<int> cpus)
    {
        cpus = [];
        foreach (string part in text.Split(','))
        {
            string[] ends = part.Split('-');
            if (
                ends.Length > 2
                || !TryParseCpu(ends[0], out int first)
                || !TryParseCpu(ends[^1], out int last)
                || last < first
            )
                return false;
            for (int cpu = first; cpu <= last; cpu++)
                if (!cpus.Contains(cpu))
                    cpus.Add(cpu);
        }
        return true;
    }

    private static bool TryParseCpu(string text, out int cpu) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out cpu) && cpu <= MaxCpu;
}
