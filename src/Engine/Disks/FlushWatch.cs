namespace Blkring.Engine.Disks;

/// <summary>
/// The flushes under way of one open disk, of all its queues, on any threads. The kernel reports a failed writeback to
/// one of them only, and the queue that started it may see that later than another queue sees the success of its own.
/// </summary>
/// <remarks>
/// <code>
/// queue A   ├── flush ─── the kernel: EIO ──────────── seen ─► LostWrites
/// queue B                    ├── flush ─── the kernel: 0 ─┤ waits for A's
/// </code>
/// So a flush that succeeded is answered only when all flushes that began before its end have ended, and then looks at
/// <see cref="LostWrites"/>. Only where writes are cached: without that, an error concerns the flush that it answers.
/// </remarks>
public sealed class FlushWatch
{
    /// <summary>A place that <see cref="End"/> ignores.</summary>
    internal const int None = -1;

    /// <summary>More than a device has queues. A further flush would not be waited for.</summary>
    private const int Capacity = 256;

    /// <summary>When each flush under way began; 0 in a place that is free.</summary>
    private readonly long[] _begun = new long[Capacity];
    private SpinLock _lock = new(enableThreadOwnerTracking: false);
    private long _next = 1;

    /// <returns>The flush's place, for <see cref="End"/>.</returns>
    internal int Begin()
    {
        bool taken = false;
        _lock.Enter(ref taken);
        int place = _begun.AsSpan().IndexOf(0);
        if (place != None)
            _begun[place] = _next++;
        _lock.Exit(useMemoryBarrier: true);
        return place;
    }

    /// <summary>The flush has ended; if it failed, that was noted before.</summary>
    /// <returns>The time, for <see cref="HaveEnded"/>.</returns>
    internal long End(int place)
    {
        bool taken = false;
        _lock.Enter(ref taken);
        if (place != None)
            _begun[place] = 0;
        long now = _next;
        _lock.Exit(useMemoryBarrier: true);
        return now;
    }

    /// <summary>Whether all flushes that began before <paramref name="time"/> have ended.</summary>
    internal bool HaveEnded(long time)
    {
        bool taken = false;
        _lock.Enter(ref taken);
        bool ended = true;
        foreach (long begun in _begun)
            ended &= begun == 0 || begun >= time;
        _lock.Exit(useMemoryBarrier: true);
        return ended;
    }
}
