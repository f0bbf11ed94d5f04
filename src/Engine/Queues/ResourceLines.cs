namespace Blkring.Engine.Queues;

/// <summary>What requests take beyond their slot, and the order in which they wait for it.</summary>
/// <remarks>
/// Resources are taken in one order: pages of the pool before persistent grants or a disk's blocks. Each has a line of
/// its own, and only the first in it is served. So no two requests wait for each other, and none is passed over. A
/// request that has all it needs ends by the disk alone.
/// </remarks>
internal struct ResourceLines(SlotList empty)
{
    /// <summary>INDIRECT: requests that wait for pages of the pool.</summary>
    public SlotList Pages = empty;

    /// <summary>Requests that wait for persistent grants.</summary>
    public SlotList Grants = empty;

    /// <summary>Writes that wait for blocks of the disk.</summary>
    public SlotList Blocks = empty;

    /// <summary>Reads that the disk has finished and a later pass copies to the guest.</summary>
    public SlotList Copies = empty;

    /// <summary>Transfers that would wait within the kernel: they wait for a place there.</summary>
    public SlotList Places = empty;

    /// <summary>Discards of which no piece is under way: they wait for a place as well.</summary>
    public SlotList Discards = empty;

    private int _holding;
    private bool _released;

    /// <summary>Requests hold something that must be given back before their response is pushed.</summary>
    public readonly bool AnyHeld => _holding > 0;

    /// <summary>Something came back, and requests wait.</summary>
    public readonly bool CanRestart =>
        _released && Pages.Count + Grants.Count + Blocks.Count + Places.Count + Discards.Count > 0;

    /// <summary>The lines are about to be looked at.</summary>
    public void BeginRestart() => _released = false;

    /// <summary>There may be room now, although no request gave anything back.</summary>
    public void NoteRoom() => _released = true;

    public void Hold(ref RequestSlot slot, SlotHolds what)
    {
        if (slot.Holds == SlotHolds.None)
            _holding++;
        slot.Holds |= what;
    }

    /// <summary>One thing that the slot held was given back.</summary>
    public void Drop(ref RequestSlot slot, SlotHolds what)
    {
        slot.Holds &= ~what;
        if (slot.Holds == SlotHolds.None)
            _holding--;
        _released = true;
    }

    /// <summary>All that the slot held was given back.</summary>
    public void Release(ref RequestSlot slot)
    {
        slot.Holds = SlotHolds.None;
        _holding--;
        _released = true;
    }

    public static void Wait(ref SlotList line, int index, ref RequestSlot slot, SlotStage stage)
    {
        slot.Stage = stage;
        line.Add(index);
    }
}
