using System.Numerics;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Telemetry;
using Blkring.Interop;

namespace Blkring.Engine.Queues;

/// <summary>DISCARD: the only request that is several disk operations at a time.</summary>
public sealed unsafe partial class VbdQueue<TAbi, TGrants, TEvents, TDisk>
{
    /// <summary>The largest piece of a discard (B12): 2 GiB less a sector.</summary>
    private const int DiscardPieceBytes = int.MaxValue - (Disk.SectorBytes - 1);

    /// <summary>
    /// Pieces of one discard under way at a time, so that one request cannot fill the submission queue.
    /// </summary>
    private const int DiscardWindow = 8;

    /// <summary>
    /// B12: pieces of at most 2 GiB less a sector; all are issued, and answered when the last is done.
    /// </summary>
    private void BeginDiscard(int index, ref RequestSlot slot)
    {
        slot.Stage = SlotStage.Discard;
        slot.OffsetBytes = (long)slot.Request.SectorNumber << Disk.SectorShift;
        slot.DiscardEnd = slot.OffsetBytes + ((long)slot.Request.NrSectors << Disk.SectorShift);
        // A block goes whole or stays: the ends of the range are only asked for.
        long mask = _disk.DiscardBlockBytes - 1;
        slot.OffsetBytes = (slot.OffsetBytes + mask) & ~mask;
        slot.DiscardEnd = Math.Max(slot.OffsetBytes, slot.DiscardEnd & ~mask);
        slot.DiscardPieces = 0;
        RewindDiscard(ref slot);
        IssueDiscard(index, ref slot);
    }

    /// <summary>From the start, in the way that the disk's discards are done now: what is gone stays gone.</summary>
    private void RewindDiscard(ref RequestSlot slot)
    {
        slot.DiscardMethod = _disk.DiscardMethod;
        slot.DiscardNext = slot.OffsetBytes;
        slot.DiscardError = 0;
        slot.Generation++;
    }

    private void IssueDiscard(int index, ref RequestSlot slot)
    {
        // All are issued, unless the first says that none will be done.
        while (slot.DiscardNext < slot.DiscardEnd && MayIssuePiece(ref slot) && slot.DiscardError != Errno.EOPNOTSUPP)
        {
            // A tag of its own for every piece, as for every operation.
            slot.Generation++;
            slot.DiscardPieces <<= 1;
            DiskOperation operation = default;
            operation.Kind = DiskOperationKind.Discard;
            operation.OffsetBytes = slot.DiscardNext;
            operation.LengthBytes = PieceBytes(ref slot);
            operation.DiscardMethod = slot.DiscardMethod;
            operation.Tag = TagOf(index, ref slot);
            slot.DiscardNext += operation.LengthBytes;
            int result = _io.Start(in operation);
            if (result == IDiskIo.Pending)
                slot.DiscardPieces |= 1;
            else
                NoteDiscardResult(ref slot, result);
        }
        if (slot.DiscardPieces == 0)
            FinishDiscard(index, ref slot);
    }

    /// <summary>A window of them, and none while the oldest would get out of sight.</summary>
    private static bool MayIssuePiece(ref RequestSlot slot) =>
        BitOperations.PopCount(slot.DiscardPieces) < DiscardWindow && (long)slot.DiscardPieces >= 0;

    /// <summary>The bit of the piece with that generation, 0 when it is not under way.</summary>
    private static ulong PieceUnderWay(ref RequestSlot slot, uint generation) =>
        slot.Generation - generation is < 64 and uint age ? slot.DiscardPieces & (1UL << (int)age) : 0;

    private void CompleteDiscardPiece(int index, ref RequestSlot slot, uint generation, int result)
    {
        slot.DiscardPieces &= ~PieceUnderWay(ref slot, generation);
        NoteDiscardResult(ref slot, result);
        IssueDiscard(index, ref slot);
    }

    /// <summary>
    /// A unit of the store that is cut in two stays allocated: where there is more to come, a piece ends where a unit
    /// does.
    /// </summary>
    private int PieceBytes(ref RequestSlot slot)
    {
        if (slot.DiscardEnd - slot.DiscardNext <= DiscardPieceBytes)
            return (int)(slot.DiscardEnd - slot.DiscardNext);
        int unit = Math.Max(_disk.DiscardGranularityBytes, _disk.DiscardBlockBytes);
        long end = slot.DiscardNext + DiscardPieceBytes;
        end -= (end - _disk.DiscardAlignmentBytes) % unit;
        return (int)((end & ~(long)(_disk.DiscardBlockBytes - 1)) - slot.DiscardNext);
    }

    private static void NoteDiscardResult(ref RequestSlot slot, int result)
    {
        if (result < 0 && slot.DiscardMethod.Refuses(-result))
            result = -Errno.EOPNOTSUPP;
        // An error that stays outweighs one that a retry may cure.
        if (result < 0 && slot.DiscardError is 0 or Errno.EAGAIN or Errno.EINTR)
            slot.DiscardError = -result;
    }

    private void FinishDiscard(int index, ref RequestSlot slot)
    {
        switch (slot.DiscardError)
        {
            case 0:
                Answer(index, ref slot, Blkif.RspOkay);
                break;
            case Errno.EAGAIN or Errno.EINTR when slot.Retries < MaxRetries:
                slot.Retries++;
                RewindDiscard(ref slot);
                Postpone(index);
                break;
            case Errno.EOPNOTSUPP when _disk.RefuseDiscard(slot.DiscardMethod):
                RewindDiscard(ref slot);
                IssueDiscard(index, ref slot);
                break;
            case Errno.EOPNOTSUPP:
                slot.Invalid = true;
                Answer(index, ref slot, Blkif.RspEopnotsupp);
                break;
            default:
                Fail(index, ref slot, FaultKind.Disk, slot.DiscardError);
                break;
        }
    }
}
