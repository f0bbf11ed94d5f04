using System.Globalization;

namespace Blkring.Engine.Settings;

/// <summary>Lists of CPUs as the kernel writes them: 0,2-3.</summary>
internal static class CpuList
{
    /// <summary>Linux can be configured for at most 8192 CPUs.</summary>
    private const int MaxCpu = 8191;

    /// <param name="cpus">In the order of the text, each once.</param>
    public static bool TryParse(string text, out IReadOnlyList<int> cpus)
    {
        List<int> list = [];
        cpus = list;
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
                if (!list.Contains(cpu))
                    list.Add(cpu);
        }
        return true;
    }

    private static bool TryParseCpu(string text, out int cpu) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out cpu) && cpu <= MaxCpu;
}
