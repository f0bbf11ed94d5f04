using System.Globalization;

namespace Blkring.Engine.Vbds;

/// <summary>The ranges of guests' pages that this process may have mapped at a time, over all its devices.</summary>
/// <remarks>
/// What one call mapped is a range of its own to the kernel: those of gntdev are never merged. A process may have
/// vm.max_map_count of them; beyond, a page cannot be mapped, and a guest's request fails. So each queue takes what it
/// may come to need when it connects, and one that comes too late copies.
/// </remarks>
public sealed class MappingBudget(int ranges)
{
    private const string LimitPath = "/proc/sys/vm/max_map_count";
    private const int UsualLimit = 65530;

    private int _left = ranges;

    /// <summary>A quarter of the kernel's limit is left to everything else.</summary>
    public static MappingBudget OfProcess { get; } = new(ReadLimit() / 4 * 3);

    /// <summary>Nothing is taken where there is not enough.</summary>
    public bool TryTake(int ranges)
    {
        if (Interlocked.Add(ref _left, -ranges) >= 0)
            return true;
        Return(ranges);
        return false;
    }

    public void Return(int ranges) => Interlocked.Add(ref _left, ranges);

    private static int ReadLimit()
    {
        try
        {
            return int.Parse(
                File.ReadAllText(LimitPath),
                NumberStyles.AllowTrailingWhite,
                CultureInfo.InvariantCulture
            );
        }
        catch (Exception e)
            when (e is IOException or UnauthorizedAccessException or FormatException or OverflowException)
        {
            return UsualLimit;
        }
    }
}
