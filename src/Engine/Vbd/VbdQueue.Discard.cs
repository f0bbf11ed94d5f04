using Blkring.Abi;
using Blkring.Interop;

namespace Blkring.Engine;

/// <summary>DISCARD: the only request that is several disk operations at a time.</summary>
public sealed unsafe partial class VbdQueue<TAbi, TGrants, TEvents, TDisk>
{
    /// <summary>The largest piece of a discard (B12): 2 GiB less a sector.</summary>
    private const int DiscardPieceBytes = int.MaxValue - (Disk.SectorBytes - 1);
    /// <summary>Pieces of one discard under way at a time, so that one request cannot fill the submission queue.</summary>
    private const int DiscardWindow = 8;

    /// <summary>B12: pieces of at most 2 GiB less a sector; all are issued, and answered when the last is done.</summary>
    private void BeginDiscard(int index, ref RequestSlot slot)
    {
        slot.Stage = SlotStage.Discard;
        slot.OffsetBytes = (long)slot.Request.SectorNumber << Disk.SectorShift;
        slot.DiscardNext = slot.OffsetBytes;
        slot.DiscardEnd = slot.OffsetBytes + ((long)slot.Request.NrSectors << Disk.SectorShift);
        slot.DiscardPieces = 0;
        slot.DiscardError = 0;
        slot.Generation++;
        IssueDiscard(index, ref slot);
    }

    private void IssueDiscard(int index, ref RequestSlot slot)
    {
        while (slot.DiscardNext < slot.DiscardEnd && slot.DiscardPieces < DiscardWindow)
        {
            DiskOperation operation = default;
            operation.Kind = DiskOperationKind.Discard;
            operation.OffsetBytes = slot.DiscardNext;
            operation.LengthBytes = (int)Math.Min(slot.DiscardEnd - slot.DiscardNext, DiscardPieceBytes);
            operation.Tag = TagOf(index, ref slot);
            slot.DiscardNext += operation.LengthBytes;
            int result = _io.Start(in operation);
            if (result == IDiskIo.Pending) slot.DiscardPieces++;
            else NoteDiscardResult(ref slot, result);
        }
        if (slot.DiscardPieces == 0) FinishDiscard(index, ref slot);
    }

    private void CompleteDiscardPiece(int index, ref RequestSlot slot, int result)
    {
        slot.DiscardPieces--;
        NoteDiscardResult(ref slot, result);
        IssueDiscard(index, ref slot);
    }

    private static void NoteDiscardResult(ref RequestSlot slot, int result)
    {
        // An error that stays outweighs one that a retry may cure.
        if (result < 0 && slot.DiscardError is 0 or Errno.EAGAIN or Errno.EINTR) slot.DiscardError = -result;
    }

    private void FinishDiscard(int index, ref RequestSlot slot)
    {
        switch (slot.DiscardError)
        {
            case 0:
                Answer(index, ref slot, Blkif.RspOkay);
                break;
            case Errno.EAGAIN or Errno.EINTR when slot.Retries < MaxRetries:
                // A discard may be repeated from the start: what is gone stays gone.
                slot.Retries++;
                slot.DiscardNext = slot.OffsetBytes;
                slot.DiscardError = 0;
                Postpone(index);
                break;
            case Errno.EOPNOTSUPP:
                _disk.RefuseDiscard();
                slot.Invalid = true;
                Answer(index, ref slot, Blkif.RspEopnotsupp);
                break;
            default:
                Fail(index, ref slot, FaultKind.Disk, slot.DiscardError);
                break;
        }
    }
}
