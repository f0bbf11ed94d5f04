using System.Globalization;

namespace Blkring.Engine.Vbds;

/// <summary>The number of ranges of guests' pages that this process may map at a time, for all devices.</summary>
/// <remarks>
/// The kernel counts what one call mapped as one range, and never merges ranges of gntdev. A process may have
/// vm.max_map_count ranges; beyond that no page can be mapped, and a guest's request fails. So each queue reserves the
/// most it can need when it connects. If too few ranges are left, the queue copies instead.
/// </remarks>
public sealed class MappingBudget(int ranges)
{
    private const string LimitPath = "/proc/sys/vm/max_map_count";
    private const int DefaultLimit = 65530;

    private int _left = ranges;

    /// <summary>The budget of this process: a quarter of the kernel's limit is left for everything else.</summary>
    public static MappingBudget OfProcess { get; } = Of(File.ReadAllText);

    /// <param name="readFile">Returns the text of a file of the kernel.</param>
    public static MappingBudget Of(Func<string, string> readFile) => new(ReadLimit(readFile) / 4 * 3);

    /// <returns>False if fewer are left; then none are taken.</returns>
    public bool TryTake(int ranges)
    {
        if (Interlocked.Add(ref _left, -ranges) >= 0)
            return true;
        Return(ranges);
        return false;
    }

    public void Return(int ranges) => Interlocked.Add(ref _left, ranges);

    private static int ReadLimit(Func<string, string> readFile)
    {
        try
        {
            return int.Parse(readFile(LimitPath), NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture);
        }
        catch (Exception e)
            when (e is IOException or UnauthorizedAccessException or FormatException or OverflowException)
        {
            return DefaultLimit;
        }
    }
}
