using System.Diagnostics;
using System.Runtime.CompilerServices;
using Blkring.Abi;
using Blkring.Interop;

namespace Blkring.Engine;

/// <summary>The way of one request, from its copy to its response.</summary>
/// <remarks>
/// <code>
/// READ               Transfer ─► CopyOut ─► Answered
/// WRITE              CopyIn ─► Transfer ─► Answered
/// FLUSH              FlushBefore ─► Answered
/// FLUSH with data    CopyIn ─► FlushBefore ─► Transfer ─► Answered
/// BARRIER            CopyIn ─► Barrier ─► FlushBefore ─► Transfer ─► FlushAfter ─► Answered
/// DISCARD            Discard, several pieces at a time ─► Answered
/// </code>
/// </remarks>
public sealed unsafe partial class VbdQueue<TAbi, TGrants, TEvents, TDisk>
{
    /// <summary>EINTR and EAGAIN are tried again about this often, a millisecond apart, before the guest is told.</summary>
    private const int MaxRetries = 1000;

    /// <summary>B5, B6: what is offered and allowed goes on; the rest is answered at once.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Dispatch(int index, ref RequestSlot slot)
    {
        switch ((int)slot.Request.Operation)
        {
            case Blkif.OpRead:
                slot.Kind = RequestKind.Read;
                if (!TryMeasure(ref slot)) Reject(index, ref slot, Blkif.RspError);
                else BeginRead(index, ref slot);
                break;
            case Blkif.OpWrite:
                slot.Kind = RequestKind.Write;
                if (_readOnly || !TryMeasure(ref slot)) Reject(index, ref slot, Blkif.RspError);
                else GatherCopies(index, ref slot, SlotStage.CopyIn);
                break;
            default:
                DispatchRare(index, ref slot);
                break;
        }
    }

    private void DispatchRare(int index, ref RequestSlot slot)
    {
        switch ((int)slot.Request.Operation)
        {
            case Blkif.OpFlushDiskcache:
                slot.Kind = RequestKind.Flush;
                if (_readOnly || !TryMeasureFlush(ref slot)) Reject(index, ref slot, Blkif.RspError);
                else if (slot.LengthBytes == 0) BeginFlush(index, ref slot);
                else GatherCopies(index, ref slot, SlotStage.CopyIn);
                break;
            case Blkif.OpWriteBarrier:
                slot.Kind = RequestKind.Flush;
                if (_readOnly || !TryMeasureFlush(ref slot)) Reject(index, ref slot, Blkif.RspError);
                else BeginBarrier(index, ref slot);
                break;
            case Blkif.OpDiscard:
                slot.Kind = RequestKind.Discard;
                if (_readOnly || !RequestValidator.FitsDisk(slot.Request.SectorNumber, slot.Request.NrSectors, _capacity))
                    Reject(index, ref slot, Blkif.RspError);
                else if (!_disk.DiscardSupported) Reject(index, ref slot, Blkif.RspEopnotsupp);
                else BeginDiscard(index, ref slot);
                break;
            default:
                // Unknown, reserved, or INDIRECT, which is not offered: an ERROR would make some guests give the disk up.
                slot.Kind = RequestKind.Other;
                Reject(index, ref slot, Blkif.RspEopnotsupp);
                break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool TryMeasure(ref RequestSlot slot)
    {
        if (!RequestValidator.TryMeasure(in slot.Request, _capacity, out int sectors)) return false;
        slot.OffsetBytes = (long)slot.Request.SectorNumber << Disk.SectorShift;
        slot.LengthBytes = sectors << Disk.SectorShift;
        slot.DoneBytes = 0;
        return true;
    }

    /// <summary>A flush or barrier without data (B11) has no place on the disk; Linux leaves -1 in its sector_number.</summary>
    private bool TryMeasureFlush(ref RequestSlot slot)
    {
        if (slot.Request.NrSegments != 0) return TryMeasure(ref slot);
        (slot.OffsetBytes, slot.LengthBytes, slot.DoneBytes) = (0, 0, 0);
        return true;
    }

    /// <summary>What <see cref="Start"/> does, straight for the commonest request: a tenth of the pass on the null disk.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void BeginRead(int index, ref RequestSlot slot)
    {
        if (slot.LengthBytes == 0)
        {
            // No segments: nothing to move, nothing that could fail.
            Finish(index, ref slot);
            return;
        }
        if (MovesData) slot.Data = DataOf(index, ref slot);
        slot.Generation++;
        DiskOperation operation = TransferOf(index, ref slot, DiskOperationKind.Read);
        int result = _io.Start(in operation);
        if (result == slot.LengthBytes)
        {
            Finish(index, ref slot);
            return;
        }
        // Completions are taken on this thread, later: the stage is in time here.
        slot.Stage = SlotStage.Transfer;
        if (result != IDiskIo.Pending && Advance(index, ref slot, result)) Start(index, ref slot);
    }

    private void BeginFlush(int index, ref RequestSlot slot)
    {
        slot.Stage = SlotStage.FlushBefore;
        Start(index, ref slot);
    }

    /// <summary>
    /// The data starts at the first segment's own offset within a page and is contiguous from there: one disk operation a request,
    /// and no page-aligned segment straddles two local pages, for each of which gntdev would charge. It never passes the slot's 11 pages,
    /// because the first segment ends within the first of them.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte* DataOf(int index, ref RequestSlot slot)
    {
        int offset = slot.Request.NrSegments == 0 ? 0 : slot.Request.Seg[0].FirstSect << Disk.SectorShift;
        return _buffers + ((nint)index * BufferBytesPerSlot) + offset;
    }

    /// <summary>B9, B10: one grant-copy segment per blkif segment, added to the pass's batch.</summary>
    private void GatherCopies(int index, ref RequestSlot slot, SlotStage stage)
    {
        slot.Stage = stage;
        bool toGuest = stage == SlotStage.CopyOut;
        if (!toGuest) slot.Data = DataOf(index, ref slot);
        if (!MovesData)
        {
            FinishCopy(index, ref slot, GrantTable.GntstOkay);
            return;
        }

        _copying[_copyingCount++] = (ushort)index;
        byte* local = slot.Data;
        ReadOnlySpan<Blkif.RequestSegment> segments = slot.Request.Seg;
        for (int i = 0; i < slot.Request.NrSegments; i++)
        {
            ref readonly Blkif.RequestSegment segment = ref segments[i];
            int length = (segment.LastSect - segment.FirstSect + 1) << Disk.SectorShift;
            GrantCopySegment* copy = &_copies[_copyCount++];
            ForeignAddress foreign = new()
            {
                Reference = segment.Gref,
                OffsetBytes = (ushort)(segment.FirstSect << Disk.SectorShift),
                Domain = _frontend,
            };
            if (toGuest)
            {
                copy->SourceAddress = local;
                copy->DestForeign = foreign;
            }
            else
            {
                copy->SourceForeign = foreign;
                copy->DestAddress = local;
            }
            copy->LengthBytes = (ushort)length;
            copy->Flags = (ushort)(toGuest ? GrantTable.GntcopyDestGref : GrantTable.GntcopySourceGref);
            // Not okay until the copy says so: a call that fails as a whole leaves no segment looking copied.
            copy->Status = GrantTable.GntstGeneralError;
            local += length;
        }
    }

    private void FinishCopy(int index, ref RequestSlot slot, short status)
    {
        if (status != GrantTable.GntstOkay)
        {
            Fail(index, ref slot, FaultKind.GrantCopy, status);
            return;
        }
        switch (slot.Stage)
        {
            case SlotStage.CopyOut:
                Answer(index, ref slot, Blkif.RspOkay);
                break;
            case SlotStage.CopyIn when index == _barrier:
                slot.Stage = SlotStage.Barrier;
                break;
            default:
                slot.Stage = slot.Kind == RequestKind.Flush ? SlotStage.FlushBefore : SlotStage.Transfer;
                Start(index, ref slot);
                break;
        }
    }

    /// <summary>A barrier waits for all that came before it, and holds back what comes after it: no request is taken meanwhile.</summary>
    private void BeginBarrier(int index, ref RequestSlot slot)
    {
        _barrier = index;
        if (slot.LengthBytes > 0) GatherCopies(index, ref slot, SlotStage.CopyIn);
        else slot.Stage = SlotStage.Barrier;
    }

    private void ReleaseBarrier()
    {
        if (_barrier == NoSlot) return;
        int index = _barrier;
        ref RequestSlot slot = ref _slots[index];
        // Answered requests of this pass still hold their slots; they are over all the same.
        if (slot.Stage != SlotStage.Barrier || InFlight - _answeredCount != 1) return;
        slot.Stage = SlotStage.FlushBefore;
        Start(index, ref slot);
    }

    /// <summary>Starts the disk operation that the slot's stage asks for, and goes on as long as operations complete at once.</summary>
    private void Start(int index, ref RequestSlot slot)
    {
        if (slot.Stage == SlotStage.Discard)
        {
            IssueDiscard(index, ref slot);
            return;
        }
        int result;
        do
        {
            // A tag of its own for every operation: an operation that a disk completes twice is noticed.
            slot.Generation++;
            DiskOperation operation = default;
            operation.Tag = TagOf(index, ref slot);
            if (slot.Stage == SlotStage.Transfer)
            {
                operation = TransferOf(index, ref slot, slot.Kind == RequestKind.Read ? DiskOperationKind.Read : DiskOperationKind.Write);
                if (operation.LengthBytes == 0)
                {
                    // No segments: nothing to move, nothing that could fail.
                    Finish(index, ref slot);
                    return;
                }
            }
            else
            {
                operation.Kind = DiskOperationKind.Flush;
            }
            result = _io.Start(in operation);
        }
        while (result != IDiskIo.Pending && Advance(index, ref slot, result));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private DiskOperation TransferOf(int index, ref RequestSlot slot, DiskOperationKind kind) => new()
    {
        Kind = kind,
        OffsetBytes = slot.OffsetBytes + slot.DoneBytes,
        LengthBytes = slot.LengthBytes - slot.DoneBytes,
        Buffer = slot.Data + slot.DoneBytes,
        Tag = TagOf(index, ref slot),
    };

    /// <summary>Takes a disk result to the slot's next stage; true when a further disk operation is to be started.</summary>
    private bool Advance(int index, ref RequestSlot slot, int result)
    {
        if (result < 0) return TakeError(index, ref slot, -result);

        switch (slot.Stage)
        {
            case SlotStage.FlushBefore when slot.LengthBytes > 0:
                slot.Stage = SlotStage.Transfer;
                return true;
            case SlotStage.Transfer when result == 0:
                // The store ended before the disk did: the image was cut short under us.
                Fail(index, ref slot, FaultKind.Disk, Errno.EIO);
                return false;
            case SlotStage.Transfer:
                slot.DoneBytes += result;
                if (slot.DoneBytes < slot.LengthBytes) return true;
                if (index == _barrier)
                {
                    slot.Stage = SlotStage.FlushAfter;
                    return true;
                }
                Finish(index, ref slot);
                return false;
            default:
                Finish(index, ref slot);
                return false;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Finish(int index, ref RequestSlot slot)
    {
        if (MovesData && slot.Kind == RequestKind.Read && slot.LengthBytes > 0) GatherCopies(index, ref slot, SlotStage.CopyOut);
        else Answer(index, ref slot, Blkif.RspOkay);
    }

    private bool TakeError(int index, ref RequestSlot slot, int errno)
    {
        if (errno is Errno.EINTR or Errno.EAGAIN && slot.Retries < MaxRetries)
        {
            slot.Retries++;
            Postpone(index);
            return false;
        }
        Fail(index, ref slot, FaultKind.Disk, errno);
        return false;
    }

    private void Postpone(int index)
    {
        Statistics.RetriesField++;
        _slots[index].Generation++;
        if (_postponedCount == 0) _postponedAt = Stopwatch.GetTimestamp();
        _postponed[_postponedCount++] = (ushort)index;
    }

    /// <summary>A completion, from the reactor's ring or from the disk itself. A stale one is counted and not followed.</summary>
    private void Complete(ulong tag, int result)
    {
        int index = (ushort)(tag >> 32);
        if (index >= _slotCount || _slots[index].Generation != (uint)tag || !AwaitsDisk(ref _slots[index]))
        {
            Statistics.StaleCompletionsField++;
            return;
        }
        ref RequestSlot slot = ref _slots[index];
        if (slot.Stage == SlotStage.Discard) CompleteDiscardPiece(index, ref slot, result);
        else if (Advance(index, ref slot, result)) Start(index, ref slot);
    }

    private static bool AwaitsDisk(ref RequestSlot slot) => slot.Stage switch
    {
        SlotStage.FlushBefore or SlotStage.Transfer or SlotStage.FlushAfter => true,
        SlotStage.Discard => slot.DiscardPieces > 0,
        _ => false,
    };

    private ulong TagOf(int index, ref RequestSlot slot) => _tagBase | ((ulong)(uint)index << 32) | slot.Generation;

    /// <summary>B8: answered at once, counted as invalid for its kind.</summary>
    private void Reject(int index, ref RequestSlot slot, int status)
    {
        slot.Invalid = true;
        Faults.Report(FaultKind.InvalidRequest, slot.Request.Operation, status, slot.Request.SectorNumber, _passStarted);
        Answer(index, ref slot, status);
    }

    private void Fail(int index, ref RequestSlot slot, FaultKind fault, int code)
    {
        Faults.Report(fault, slot.Request.Operation, code, slot.Request.SectorNumber, _passStarted);
        Answer(index, ref slot, Blkif.RspError);
    }

    /// <summary>Writes the response at the private index (B14); it is pushed with the others of the pass.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Answer(int index, ref RequestSlot slot, int status)
    {
        if (index == _barrier) _barrier = NoSlot;
        slot.Stage = SlotStage.Answered;
        slot.Status = (short)status;
        _ring.PutResponse(new Blkif.DecodedResponse { Id = slot.Request.Id, Operation = slot.Request.Operation, Status = (short)status });
        _answered[_answeredCount++] = (ushort)index;
    }
}
