namespace Blkring.Engine.Queues;

/// <summary>
/// Slots in the order in which they came, linked through <see cref="RequestSlot.Next"/>: a slot is in one list at a
/// time.
/// </summary>
internal unsafe struct SlotList(RequestSlot* slots)
{
    private readonly RequestSlot* _slots = slots;
    private ushort _first,
        _last;

    public int Count { get; private set; }

    /// <summary>The one that came first; there must be one.</summary>
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
}
