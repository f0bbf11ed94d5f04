namespace Blkring.Engine.Disks;

/// <summary>
/// The blocks of one disk that writes are under way on, of all its queues, whatever threads turn them: a write of part
/// of a block, which reads the block, changes it and writes it back, excludes every other write of that block; writes
/// of whole blocks do not exclude each other. A fixed table; who finds it full, or a block taken, waits and asks again.
/// </summary>
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

    // Entries from here on are free.
    private int _used;

    /// <summary>Takes a range of bytes for a write.</summary>
    /// <param name="exclusive">Nobody else may write any of it meanwhile.</param>
    /// <returns>What to return afterwards, or <see cref="None"/>.</returns>
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
