using System.Diagnostics;
using System.Runtime.CompilerServices;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Telemetry;
using Blkring.Interop;

namespace Blkring.Engine.Queues;

/// <summary>The way of one request, from its copy to its response.</summary>
/// <remarks>
/// <code>
/// READ               Transfer ─► CopyOut, perhaps in a later pass ─► Answered
/// WRITE              CopyIn ─► Transfer ─► Answered
/// FLUSH              FlushBefore ─► Answered
/// FLUSH with data    CopyIn ─► FlushBefore ─► Transfer ─► Answered
/// BARRIER            CopyIn ─► Barrier ─► FlushBefore ─► Transfer ─► FlushAfter ─► Answered
/// DISCARD            Discard, several pieces at a time ─► Answered
/// INDIRECT           AwaitPages, if there is no room ─► Describe ─► as READ or WRITE
/// </code>
/// Flushes that are wanted at the same time are one: VbdQueue.Flush.cs. Before a Transfer of parts of blocks:
/// VbdQueue.Blocks.cs. With mapped or persistent grants [AwaitGrants ─►] Map stands where CopyIn is, for READ too, and
/// there is no CopyOut; a BARRIER of the latter kind waits first: Barrier ─► [AwaitGrants ─►] Map ─► FlushBefore.
/// </remarks>
public sealed unsafe partial class VbdQueue<TAbi, TGrants, TEvents, TDisk>
{
    /// <summary>
    /// EINTR and EAGAIN are tried again about this often, a millisecond apart, before the guest is told.
    /// </summary>
    private const int MaxRetries = 1000;

    /// <summary>B5, B6: what is offered and allowed goes on; the rest is answered at once.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Dispatch(int index, ref RequestSlot slot)
    {
        switch ((int)slot.Request.Operation)
        {
            case Blkif.OpRead:
                slot.Kind = RequestKind.Read;
                if (!TryMeasure(ref slot))
                    Reject(index, ref slot, Blkif.RspError);
                else if (MovesData && _mode != GrantMode.Copy)
                    Fetch(index, ref slot);
                else
                    BeginRead(index, ref slot);
                break;
            case Blkif.OpWrite:
                slot.Kind = RequestKind.Write;
                if (_readOnly || !TryMeasure(ref slot))
                    Reject(index, ref slot, Blkif.RspError);
                else
                    Fetch(index, ref slot);
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
                if (_readOnly || !TryMeasureFlush(ref slot))
                    Reject(index, ref slot, Blkif.RspError);
                else if (slot.LengthBytes == 0)
                    BeginFlush(index, ref slot);
                else
                    Fetch(index, ref slot);
                break;
            case Blkif.OpWriteBarrier:
                slot.Kind = RequestKind.Flush;
                if (!_barriers)
                    Reject(index, ref slot, Blkif.RspEopnotsupp);
                else if (_readOnly || !TryMeasureFlush(ref slot))
                    Reject(index, ref slot, Blkif.RspError);
                else
                    BeginBarrier(index, ref slot);
                break;
            case Blkif.OpDiscard:
                slot.Kind = RequestKind.Discard;
                if (
                    _readOnly
                    || !RequestValidator.FitsDisk(slot.Request.SectorNumber, slot.Request.NrSectors, _capacity)
                )
                    Reject(index, ref slot, Blkif.RspError);
                else if (!_disk.DiscardSupported)
                    Reject(index, ref slot, Blkif.RspEopnotsupp);
                else
                    BeginDiscard(index, ref slot);
                break;
            case Blkif.OpIndirect:
                DispatchIndirect(index, ref slot);
                break;
            default:
                // Unknown or reserved: an ERROR would make some guests give the disk up.
                slot.Kind = RequestKind.Other;
                Reject(index, ref slot, Blkif.RspEopnotsupp);
                break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool TryMeasure(ref RequestSlot slot)
    {
        if (!RequestValidator.TryMeasure(in slot.Request, _capacity, out int sectors))
            return false;
        SetExtent(ref slot, sectors);
        _throttle?.ChargeBytes(_passStarted, slot.LengthBytes);
        return !MovesData || !_nativeSectors || IsWholeBlocks(ref slot);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void SetExtent(ref RequestSlot slot, int sectors)
    {
        slot.OffsetBytes = (long)slot.Request.SectorNumber << Disk.SectorShift;
        slot.LengthBytes = sectors << Disk.SectorShift;
        slot.DoneBytes = 0;
    }

    /// <summary>
    /// A flush or barrier without data (B11) has no place on the disk; Linux leaves -1 in its sector_number.
    /// </summary>
    private bool TryMeasureFlush(ref RequestSlot slot)
    {
        if (slot.Request.NrSegments != 0)
            return TryMeasure(ref slot);
        (slot.OffsetBytes, slot.LengthBytes, slot.DoneBytes) = (0, 0, 0);
        return true;
    }

    /// <summary>
    /// What <see cref="Start"/> does, straight for the commonest request: a tenth of the pass on the null disk.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void BeginRead(int index, ref RequestSlot slot)
    {
        if (slot.LengthBytes == 0)
        {
            // No segments: nothing to move, nothing that could fail.
            Finish(index, ref slot);
            return;
        }
        if (MovesData)
            slot.Data = DataOf(index, ref slot);
        if (MovesData && _bounces)
        {
            slot.Stage = SlotStage.Transfer;
            Start(index, ref slot);
            return;
        }
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
        if (result != IDiskIo.Pending && Advance(index, ref slot, result))
            Start(index, ref slot);
    }

    private void BeginFlush(int index, ref RequestSlot slot)
    {
        slot.Stage = SlotStage.FlushBefore;
        Start(index, ref slot);
    }

    /// <summary>
    /// The data starts at the first segment's own offset within a page and is contiguous from there: one disk operation
    /// a request, and no page-aligned segment straddles two local pages, for each of which gntdev would charge. It
    /// never passes as many pages as there may be segments, because the first segment ends within the first of them.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte* DataOf(int index, ref RequestSlot slot)
    {
        byte* buffer = BufferOf(index, ref slot);
        if (_bounces)
            return buffer + (slot.OffsetBytes & _blockMask);
        return slot.Request.NrSegments == 0 ? buffer : buffer + (SegmentsOf(ref slot)->FirstSect << Disk.SectorShift);
    }

    /// <summary>
    /// The request's segments: in the slot itself, or, of an INDIRECT request, where its list was copied to.
    /// </summary>
    /// <remarks>Safe: a slot lies in the arena and does not move.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Blkif.RequestSegment* SegmentsOf(ref RequestSlot slot) =>
        (slot.Holds & SlotHolds.Pages) == 0
            ? (Blkif.RequestSegment*)Unsafe.AsPointer(ref slot.Request.Seg)
            : (Blkif.RequestSegment*)_pool.At(slot.RunFirst);

    /// <summary>
    /// Has the data brought within the disk's reach: what the guest writes copied, or its pages mapped, with all others
    /// of the pass.
    /// </summary>
    private void Fetch(int index, ref RequestSlot slot)
    {
        if (!MovesData || _mode == GrantMode.Copy || slot.Request.NrSegments == 0)
            GatherCopies(index, ref slot, SlotStage.CopyIn);
        else if (_awaitingGrants.Count > 0 || !TryGatherMaps(index, ref slot))
            Wait(ref _awaitingGrants, index, ref slot, SlotStage.AwaitGrants);
    }

    /// <summary>B9, B10: one grant-copy segment per blkif segment, added to the pass's batch.</summary>
    private void GatherCopies(int index, ref RequestSlot slot, SlotStage stage)
    {
        slot.Stage = stage;
        bool toGuest = stage == SlotStage.CopyOut;
        if (!toGuest)
            slot.Data = DataOf(index, ref slot);
        if (!MovesData)
        {
            FinishFetch(index, ref slot, GrantTable.GntstOkay, FaultKind.GrantCopy);
            return;
        }

        _copying[_copyingCount++] = (ushort)index;
        byte* local = slot.Data;
        Blkif.RequestSegment* segment = SegmentsOf(ref slot);
        for (Blkif.RequestSegment* end = segment + slot.Request.NrSegments; segment < end; segment++)
        {
            int length = (segment->LastSect - segment->FirstSect + 1) << Disk.SectorShift;
            GrantCopySegment* copy = &_copies[_copyCount++];
            ForeignAddress foreign = new()
            {
                Reference = segment->Gref,
                OffsetBytes = (ushort)(segment->FirstSect << Disk.SectorShift),
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

    /// <summary>What was copied or mapped, or was not, takes the request to its next stage.</summary>
    private void FinishFetch(int index, ref RequestSlot slot, short status, FaultKind fault)
    {
        if (status != GrantTable.GntstOkay)
        {
            Fail(index, ref slot, fault, status);
            return;
        }
        switch (slot.Stage)
        {
            case SlotStage.CopyOut:
                Answer(index, ref slot, Blkif.RspOkay);
                break;
            case not SlotStage.CopyOut when index == _barrier:
                slot.Stage = SlotStage.Barrier;
                break;
            default:
                slot.Stage = slot.Kind == RequestKind.Flush ? SlotStage.FlushBefore : SlotStage.Transfer;
                Start(index, ref slot);
                break;
        }
    }

    /// <summary>
    /// A barrier waits for all that came before it, and holds back what comes after it: no request is taken meanwhile.
    /// </summary>
    private void BeginBarrier(int index, ref RequestSlot slot)
    {
        _barrier = index;
        // Grants that it pinned now could be those that the requests before it wait for.
        if (slot.LengthBytes > 0 && _mode != GrantMode.Persistent)
            Fetch(index, ref slot);
        else
            slot.Stage = SlotStage.Barrier;
    }

    private void ReleaseBarrier()
    {
        if (_barrier == NoSlot)
            return;
        int index = _barrier;
        ref RequestSlot slot = ref _slots[index];
        // Answered requests of this pass still hold their slots; they are over all the same. Those that an earlier
        // daemon left behind it have not begun.
        if (slot.Stage != SlotStage.Barrier || InFlight - _answeredCount - (_leftCount - _leftBegun) != 1)
            return;
        if (_mode == GrantMode.Persistent && slot.LengthBytes > 0 && (slot.Holds & SlotHolds.Pins) == 0)
        {
            Fetch(index, ref slot);
            MapGrants();
            // It failed, or waits for those just answered to give their grants back.
            if (slot.Stage != SlotStage.Barrier)
                return;
        }
        slot.Stage = SlotStage.FlushBefore;
        Start(index, ref slot);
        StartFlushes();
    }

    /// <summary>
    /// Starts the disk operation that the slot's stage asks for, and goes on as long as operations complete at once.
    /// </summary>
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
            if (slot.Stage is SlotStage.FlushBefore or SlotStage.FlushAfter)
            {
                if (index == _flush)
                    IssueFlush();
                else
                    AskFlush(index, ref slot);
                return;
            }
            if (_bounces && slot.Stage == SlotStage.Transfer && !EnterBlocks(index, ref slot))
                return;
            // A tag of its own for every operation: an operation that a disk completes twice is noticed.
            slot.Generation++;
            DiskOperation operation =
                slot.Stage == SlotStage.Transfer
                    ? TransferOf(
                        index,
                        ref slot,
                        slot.Kind == RequestKind.Read ? DiskOperationKind.Read : DiskOperationKind.Write
                    )
                    : ReadOfEdge(index, ref slot);
            if (slot.VectorCount > 0)
                SetVectors(ref slot, ref operation);
            if (operation.LengthBytes == 0)
            {
                // No segments: nothing to move, nothing that could fail.
                Finish(index, ref slot);
                return;
            }
            result = _io.Start(in operation);
        } while (result != IDiskIo.Pending && Advance(index, ref slot, result));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private DiskOperation TransferOf(int index, ref RequestSlot slot, DiskOperationKind kind) =>
        new()
        {
            Kind = kind,
            OffsetBytes = slot.OffsetBytes + slot.DoneBytes,
            LengthBytes = slot.LengthBytes - slot.DoneBytes,
            Buffer = slot.Data + slot.DoneBytes,
            Tag = TagOf(index, ref slot),
        };

    /// <summary>
    /// Takes a disk result to the slot's next stage; true when a further disk operation is to be started.
    /// </summary>
    private bool Advance(int index, ref RequestSlot slot, int result)
    {
        if (result < 0)
            return TakeError(index, ref slot, -result);

        switch (slot.Stage)
        {
            case SlotStage.FlushBefore when slot.LengthBytes > 0:
                slot.Stage = SlotStage.Transfer;
                return true;
            case SlotStage.Transfer or SlotStage.ReadHead or SlotStage.ReadTail when result == 0:
                // The store ended before the disk did: the image was cut short under us.
                Fail(index, ref slot, FaultKind.Disk, Errno.EIO);
                return false;
            case SlotStage.ReadHead or SlotStage.ReadTail:
                AdvanceEdge(index, ref slot, result);
                return true;
            case SlotStage.Transfer:
                slot.DoneBytes += result;
                if (slot.VectorCount > 0)
                    AdvanceVectors(ref slot, result);
                if (slot.DoneBytes < slot.LengthBytes)
                    return true;
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
        if (MovesData && _bounces && (slot.Holds & SlotHolds.Blocks) != 0)
            Narrow(ref slot);
        if (MovesData && slot.Kind == RequestKind.Read && slot.LengthBytes > 0 && _mode == GrantMode.Copy)
            CopyOut(index, ref slot);
        else
            Answer(index, ref slot, Blkif.RspOkay);
    }

    private bool TakeError(int index, ref RequestSlot slot, int errno)
    {
        if (IsRetried(ref slot, errno))
            Postpone(index);
        else
            Fail(index, ref slot, FaultKind.Disk, errno);
        return false;
    }

    /// <summary>Whether the operation is to be tried again after that error; counts.</summary>
    private static bool IsRetried(ref RequestSlot slot, int errno)
    {
        if (errno is not (Errno.EINTR or Errno.EAGAIN) || slot.Retries >= MaxRetries)
            return false;
        slot.Retries++;
        return true;
    }

    private void Postpone(int index)
    {
        Statistics.RetriesField++;
        _slots[index].Generation++;
        if (_postponedCount == 0)
            _postponedAt = Stopwatch.GetTimestamp();
        _postponed[_postponedCount++] = (ushort)index;
    }

    /// <summary>
    /// A completion, from the reactor's ring or from the disk itself. A stale one is counted and not followed.
    /// </summary>
    private void Complete(ulong tag, int result)
    {
        int index = (ushort)(tag >> 32);
        if (index >= _slotCount || !AwaitsDisk(index, ref _slots[index], (uint)tag))
        {
            Statistics.StaleCompletionsField++;
            return;
        }
        ref RequestSlot slot = ref _slots[index];
        if (slot.Stage == SlotStage.Discard)
            CompleteDiscardPiece(index, ref slot, (uint)tag, result);
        else if (index == _flush)
            CompleteFlush(result);
        else if (Advance(index, ref slot, result))
            Start(index, ref slot);
    }

    private bool AwaitsDisk(int index, ref RequestSlot slot, uint generation) =>
        slot.Stage switch
        {
            SlotStage.FlushBefore or SlotStage.FlushAfter => index == _flush && generation == slot.Generation,
            SlotStage.Transfer or SlotStage.ReadHead or SlotStage.ReadTail => generation == slot.Generation,
            SlotStage.Discard => PieceUnderWay(ref slot, generation) != 0,
            _ => false,
        };

    private ulong TagOf(int index, ref RequestSlot slot) => _tagBase | ((ulong)(uint)index << 32) | slot.Generation;

    /// <summary>B8: answered at once, counted as invalid for its kind.</summary>
    private void Reject(int index, ref RequestSlot slot, int status)
    {
        slot.Invalid = true;
        Faults.Report(
            FaultKind.InvalidRequest,
            slot.Request.Operation,
            status,
            slot.Request.SectorNumber,
            _passStarted
        );
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
        if (index == _barrier)
            _barrier = NoSlot;
        slot.Stage = SlotStage.Answered;
        slot.Status = (short)status;
        uint place = _ring.RspProdPvt;
        _ring.PutResponse(
            new Blkif.DecodedResponse
            {
                Id = slot.Request.Id,
                Operation = slot.Request.Operation,
                Status = (short)status,
            }
        );
        RecordAnswered(ref slot, place);
        _answered[_answeredCount++] = (ushort)index;
    }
}
