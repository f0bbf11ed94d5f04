using System.Runtime.CompilerServices;
using Blkring.Abi;

namespace Blkring.Engine.Queues;

/// <summary>
/// What lets a daemon go on where another was killed. In each slot it is marked how far its request came; the order of
/// the stores is the order in which they happen, since all of them are this thread's and the process ends between two
/// of them.
/// </summary>
/// <remarks>
/// A request is under way when its slot says Taken, or Answered with a response that was not pushed: rsp_prod, which
/// the frontend has seen, tells. What was consumed is what was pushed and what is under way, so req_cons need not be
/// kept.
/// </remarks>
public sealed unsafe partial class VbdQueue<TAbi, TGrants, TEvents, TDisk>
{
    private readonly RingJournal? _journal;

    // Slots of requests that an earlier daemon left, in the order in which it took them.
    private readonly ushort* _left;
    private int _leftCount,
        _leftBegun;

    /// <summary>After the request is complete in the slot.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void RecordTaken(ref RequestSlot slot)
    {
        slot.IsIndirect = false;
        slot.RequestIndex = _ring.ReqCons;
        Volatile.Write(ref Unsafe.As<SlotRecord, byte>(ref slot.Record), (byte)SlotRecord.Taken);
    }

    /// <summary>After the response is on the ring.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void RecordAnswered(ref RequestSlot slot, uint place)
    {
        slot.ResponseIndex = place;
        Volatile.Write(ref Unsafe.As<SlotRecord, byte>(ref slot.Record), (byte)SlotRecord.Answered);
    }

    /// <summary>After the push, so that no slot still says Answered when the index has come round.</summary>
    private void RecordPushed(int answered)
    {
        // The slots just freed are the last of the list.
        for (int i = _freeCount - answered; i < _freeCount; i++)
            _slots[_free[i]].Record = SlotRecord.None;
    }

    /// <summary>Sorts a slot of an earlier daemon: under way, in which case it is kept in order, or free.</summary>
    private bool IsLeft(ref RequestSlot slot)
    {
        bool unseen = slot.Record == SlotRecord.Answered && (int)(slot.ResponseIndex - _ring.RspProdPvt) >= 0;
        bool left = unseen || slot.Record == SlotRecord.Taken;
        slot.Record = left ? SlotRecord.Taken : SlotRecord.None;
        slot.Holds = SlotHolds.None;
        slot.Stage = SlotStage.Free;
        slot.DiscardPieces = 0;
        slot.VectorCount = 0;
        if (!left)
            return false;

        int place = _leftCount++;
        for (; place > 0 && (int)(_slots[_left[place - 1]].RequestIndex - slot.RequestIndex) > 0; place--)
            _left[place] = _left[place - 1];
        _left[place] = (ushort)((RequestSlot*)Unsafe.AsPointer(ref slot) - _slots);
        _ring.ReqCons++;
        return true;
    }

    /// <summary>
    /// Does again what the daemon before had under way, in its order: what comes behind a barrier waits for it, also if
    /// that was done already, for it is done once more.
    /// </summary>
    private void BeginLeft()
    {
        _passStarted = ReadClock();
        _capacity = _disk.CapacitySectors;
        while (MayBeginLeft)
        {
            int index = _left[_leftBegun++];
            ref RequestSlot slot = ref _slots[index];
            if (slot.IsIndirect)
                slot.Request.Operation = (byte)Blkif.OpIndirect;
            Begin(index, ref slot);
        }
    }

    private bool MayBeginLeft => _leftBegun < _leftCount && _barrier == NoSlot;
}
