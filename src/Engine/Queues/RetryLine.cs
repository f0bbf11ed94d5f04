using Blkring.Engine.Memory;

namespace Blkring.Engine.Queues;

/// <summary>Requests whose disk operation failed with EAGAIN or EINTR, until they are requeued.</summary>
/// <remarks>
/// All wait for the same moment. A guest that keeps the queue busy must not use up the retries of those that wait,
/// so a pass alone does not end the wait.
/// </remarks>
internal unsafe struct RetryLine(Arena arena, int slots, long delayTicks)
{
    private readonly ushort* _waiting = arena.Take<ushort>(slots);
    private int _count;
    private long _since;

    public readonly bool IsEmpty => _count == 0;

    /// <param name="now">A Stopwatch timestamp.</param>
    public void Add(int index, long now)
    {
        if (_count == 0)
            _since = now;
        _waiting[_count++] = (ushort)index;
    }

    /// <summary>
    /// Empties the line when the delay is over. The slots are then at <see cref="At"/>, from 0 on; a slot may be added
    /// again once it was read.
    /// </summary>
    /// <returns>The number of slots, 0 before the delay is over.</returns>
    public int TakeDue(long now)
    {
        if (_count == 0 || now - _since < delayTicks)
            return 0;
        int count = _count;
        (_count, _since) = (0, now);
        return count;
    }

    public readonly int At(int place) => _waiting[place];
}
