using Blkring.Engine.Memory;

namespace Blkring.Engine.Queues;

/// <summary>Requests whose disk operation failed with EAGAIN or EINTR, until they are requeued.</summary>
/// <remarks>
/// All wait for the same moment. A guest that keeps the queue busy must not use up the retries of those that wait,
/// so a pass alone does not end the wait.
/// </remarks>
internal unsafe struct RetryLine(Arena arena, int slots, long delayTicks)
{
    // A circle: a slot is in the line once at most, so a request that is added while the line is walked finds a place
    // behind those that were in it before.
    private readonly ushort* _waiting = arena.Take<ushort>(slots);
    private int _first,
        _count;
    private long _since;

    public readonly bool IsEmpty => _count == 0;

    /// <param name="now">A Stopwatch timestamp.</param>
    public void Add(int index, long now)
    {
        if (_count == 0)
            _since = now;
        int place = _first + _count++;
        _waiting[place < slots ? place : place - slots] = (ushort)index;
    }

    /// <summary>Those that wait are to be taken when the delay is over: <see cref="TakeFirst"/>.</summary>
    /// <returns>The number of slots, 0 before the delay is over.</returns>
    public int BeginDue(long now)
    {
        if (_count == 0 || now - _since < delayTicks)
            return 0;
        _since = now;
        return _count;
    }

    public int TakeFirst()
    {
        int index = _waiting[_first];
        _first = _first + 1 < slots ? _first + 1 : 0;
        _count--;
        return index;
    }
}
