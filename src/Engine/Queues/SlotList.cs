namespace Blkring.Engine.Queues;

/// <summary>
/// A queue of slots, linked through <see cref="RequestSlot.Next"/>: a slot is in at most one list at a time.
/// </summary>
internal unsafe struct SlotList(RequestSlot* slots)
{
    private readonly RequestSlot* _slots = slots;
    private ushort _first,
        _last;

    public int Count { get; private set; }

    /// <summary>The slot added first. The list must not be empty.</summary>
    public readonly int First => _first;

    public void Add(int index)
    {
        if (Count++ == 0)
            _first = (ushort)index;
        else
            _slots[_last].Next = (ushort)index;
        _last = (ushort)index;
    }

    public int TakeFirst()
    {
        int index = _first;
        _first = _slots[index].Next;
        Count--;
        return index;
    }

    /// <summary>Hands all slots over, in their order, to the list returned.</summary>
    public SlotList TakeAll()
    {
        SlotList all = this;
        Count = 0;
        return all;
    }
}
