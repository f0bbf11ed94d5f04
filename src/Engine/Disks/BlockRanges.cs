namespace Blkring.Engine.Disks;

/// <summary>
/// The ranges of one disk that are being written, shared by all its queues on any threads. A read-modify-write of a
/// block excludes every other write of that block; writes of whole blocks do not exclude each other.
/// </summary>
/// <remarks>
/// The table has a fixed size. When it is full or the range is in conflict, <see cref="TryTake"/> fails and the caller
/// tries again after the next completion.
/// </remarks>
public sealed class BlockRanges
{
    public const int None = -1;
    private const int Capacity = 1024;

    private struct Range
    {
        public long Start,
            End;
        public bool Exclusive;
    }

    private readonly Range[] _ranges = new Range[Capacity];
    private SpinLock _lock = new(enableThreadOwnerTracking: false);

    // All entries from this one on are free.
    private int _used;

    /// <summary>Takes a range of bytes for a write.</summary>
    /// <param name="end">The first byte after the range.</param>
    /// <param name="exclusive">Whether no other write may overlap the range: a read-modify-write.</param>
    /// <returns>The entry, for <see cref="Return"/>; or <see cref="None"/>.</returns>
    public int TryTake(long start, long end, bool exclusive)
    {
        bool taken = false;
        _lock.Enter(ref taken);
        int entry = TryTakeLocked(start, end, exclusive);
        _lock.Exit(useMemoryBarrier: true);
        return entry;
    }

    public void Return(int entry)
    {
        bool taken = false;
        _lock.Enter(ref taken);
        _ranges[entry] = default;
        while (_used > 0 && _ranges[_used - 1].End == 0)
            _used--;
        _lock.Exit(useMemoryBarrier: true);
    }

    private int TryTakeLocked(long start, long end, bool exclusive)
    {
        int free = _used < Capacity ? _used : None;
        for (int i = 0; i < _used; i++)
        {
            ref Range other = ref _ranges[i];
            if (other.End == 0)
                free = i;
            else if ((exclusive || other.Exclusive) && start < other.End && other.Start < end)
                return None;
        }
        if (free == None)
            return None;
        _ranges[free] = new Range
        {
            Start = start,
            End = end,
            Exclusive = exclusive,
        };
        _used = Math.Max(_used, free + 1);
        return free;
    }
}
