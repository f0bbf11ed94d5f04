using Blkring.Engine.Disks;

namespace Blkring.Engine.Queues;

/// <summary>What requests take beyond their slot, and the order in which they wait for it.</summary>
/// <remarks>
/// Everything is taken in one order, pages of the pool before persistent grants or a disk's blocks, and each has a line
/// of its own, of which only the first is given: so nobody waits in a circle, and nobody is passed over. Those who have
/// all they need end by the disk alone.
/// </remarks>
public sealed unsafe partial class VbdQueue<TAbi, TGrants, TEvents, TDisk>
{
    private void Hold(ref RequestSlot slot, SlotHolds what)
    {
        if (slot.Holds == SlotHolds.None)
            _holding++;
        slot.Holds |= what;
    }

    /// <summary>Before the push: once it has its response, a frontend uses its pages again.</summary>
    private void ReleaseAnswered(long now)
    {
        for (int i = 0; i < _answeredCount; i++)
        {
            int index = _answered[i];
            ref RequestSlot slot = ref _slots[index];
            if (slot.Holds == SlotHolds.None)
                continue;
            if ((slot.Holds & (SlotHolds.Maps | SlotHolds.Pins)) != 0)
                ReleaseMapped(index, ref slot, now);
            if ((slot.Holds & SlotHolds.Blocks) != 0 && slot.Range != BlockRanges.None)
                _disk.Ranges!.Return(slot.Range);
            if ((slot.Holds & SlotHolds.Pages) != 0)
                _pool.Return(slot.RunFirst, slot.RunPages);
            slot.Holds = SlotHolds.None;
            _holding--;
            _released = true;
        }
        CallUnmap();
        if (_persistent.EvictedCount == 0)
            return;
        UnmapEvicted();
        _persistent.Settle();
    }

    private static void Wait(ref SlotList line, int index, ref RequestSlot slot, SlotStage stage)
    {
        slot.Stage = stage;
        line.Add(index);
    }

    /// <summary>After something came back: those who wait for it, in their order, until one has to wait on.</summary>
    private void RestartWaiting()
    {
        // Blocks may have been taken by another queue, which does not tell when it returns them.
        if (_awaitingBlocks.Count > 0)
            RestartBlocks();
        if (!CanRestart)
            return;
        _released = false;
        while (_awaitingPages.Count > 0 && TryBeginIndirect(_awaitingPages.First, ref _slots[_awaitingPages.First]))
            _awaitingPages.TakeFirst();
        while (_awaitingGrants.Count > 0 && TryGatherMaps(_awaitingGrants.First, ref _slots[_awaitingGrants.First]))
            _awaitingGrants.TakeFirst();
    }

    private void RestartBlocks()
    {
        while (_awaitingBlocks.Count > 0 && TryTakeBlocks(ref _slots[_awaitingBlocks.First]))
        {
            int index = _awaitingBlocks.TakeFirst();
            ref RequestSlot slot = ref _slots[index];
            FirstOfBlocks(index, ref slot);
            Start(index, ref slot);
        }
    }

    private bool CanRestart => _released && _awaitingPages.Count + _awaitingGrants.Count + _awaitingBlocks.Count > 0;
}
