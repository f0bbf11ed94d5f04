using Blkring.Engine.Disks;

namespace Blkring.Engine.Queues;

/// <summary>
/// Flushes, of FLUSH_DISKCACHE and of barriers: those that are wanted at the same time are one disk operation.
/// </summary>
/// <remarks>
/// A disk flush covers what was written before it started, and nothing that ends while it is under way. So a request
/// that asks meanwhile waits for the next flush, which starts when this one ends and serves all that asked by then.
/// </remarks>
internal struct FlushGroup(SlotList empty)
{
    private const int None = -1;

    private SlotList _underWay = empty,
        _wanted = empty;

    /// <summary>The request under whose tag the flush is under way; -1 when none is.</summary>
    public int Leader { get; private set; } = None;

    /// <summary>The place of the flush under way among those of the disk's other queues.</summary>
    public int Place = FlushWatch.None;

    /// <summary>
    /// The flush has succeeded, and waits for those of other queues that began before this time; 0 if it does not wait.
    /// </summary>
    public long HeldUntil;

    /// <summary>Requests that the flush under way serves.</summary>
    public readonly int Count => _underWay.Count;

    public void Want(int index) => _wanted.Add(index);

    /// <summary>Begins a flush for all requests that want one; false when none does or a flush is under way.</summary>
    public bool TryBegin()
    {
        if (Leader != None || _wanted.Count == 0)
            return false;
        _underWay = _wanted.TakeAll();
        Leader = _underWay.First;
        return true;
    }

    /// <summary>The flush has ended.</summary>
    /// <returns>The requests served, in the order in which they asked.</returns>
    public SlotList End()
    {
        Leader = None;
        return _underWay.TakeAll();
    }
}
