using Blkring.Abi;
using Blkring.Interop;

namespace Blkring.Engine.Queues;

/// <summary>The end of a queue by an exception in its own code.</summary>
/// <remarks>
/// What the parts say of each other may be wrong from then on, so nothing is done with them: no request is taken,
/// replayed or answered. The operations that are under way are only counted as they end; until then the memory stays.
/// The journal says what is under way, as after a kill, and the next queue on this ring replays it.
/// </remarks>
public sealed unsafe partial class VbdQueue<TAbi, TGrants, TEvents, TDisk>
{
    internal override void EndByCrash(Exception bug)
    {
        uint suspect = *_workingOn - 1;
        string? request = suspect < _slots.Count ? RingJournal.Describe(in _slots.RecordOf((int)suspect)) : null;
        DetachRing();
        _journal?.NoteCrash();
        Crash = new QueueCrash(request, bug);
    }

    private PassResult ReapAfterCrash()
    {
        int count;
        do
        {
            count = _io.Reap(_memory.Completions);
            _diskUnderWay -= count;
        } while (count == QueuePlan.ReapBatch);
        return PassResult.Idle;
    }

    private uint TakeAfterCrash(IoUring ring, uint head, uint tail)
    {
        for (; head != tail; head++)
        {
            io_uring_cqe* cqe = ring.CompletionAt(head);
            if ((cqe->user_data ^ _tagBase) >> 48 != 0)
                break;
            if ((ushort)(cqe->user_data >> 32) == EventSlot)
                EventWaitCompleted = true;
            else
                _diskUnderWay--;
        }
        return head;
    }

    /// <summary>The operator decided that this request is not tried again.</summary>
    private void FailSuspect(int index, ref RequestSlot slot)
    {
        slot.TakenAt = _pass.StartedAt;
        slot.Kind = Telemetry.RequestKind.Other;
        Reject(index, ref slot, Blkif.RspError);
    }
}
