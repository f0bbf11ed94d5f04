using Blkring.Engine.Queues;

namespace Blkring.Engine.Reactors;

/// <summary>
/// Queues whose event channels stay masked for a while, because their frontends sent events without requests. Used only
/// on the reactor's thread; no allocation.
/// </summary>
internal sealed class HeldEvents(int capacity, TimeProvider clock)
{
    private readonly ReadyQueues _held = new(capacity);
    private readonly double _nsPerTick = 1e9 / clock.TimestampFrequency;

    // A timestamp of the clock: when the first of them is due, or sooner.
    private long _dueAt = long.MaxValue;

    /// <summary>Unmasks the queue's events, now or when they are due.</summary>
    public void Unmask(int index, VbdQueue queue)
    {
        long holdNs = queue.UnmaskEvents();
        if (holdNs == 0)
            return;
        _held.Mark(index);
        _dueAt = Math.Min(_dueAt, clock.GetTimestamp() + (long)(holdNs / _nsPerTick) + 1);
    }

    /// <summary>Unmasks what is due.</summary>
    /// <returns>
    /// The nanoseconds until the next one is, but at most <paramref name="timeoutNs"/>; -1 is no limit.
    /// </returns>
    public long UnmaskDue(VbdQueue?[] queues, long timeoutNs)
    {
        if (_held.Count == 0)
            return timeoutNs;
        long leftNs = LeftNs();
        if (leftNs <= 0)
        {
            _dueAt = long.MaxValue;
            for (int count = _held.Count; count > 0; count--)
            {
                int index = _held.Take();
                if (queues[index] is { } queue)
                    Unmask(index, queue);
            }
            if (_held.Count == 0)
                return timeoutNs;
            leftNs = Math.Max(LeftNs(), 0);
        }
        return timeoutNs < 0 ? leftNs : Math.Min(leftNs, timeoutNs);
    }

    private long LeftNs() => (long)((_dueAt - clock.GetTimestamp()) * _nsPerTick);
}
