using System.Runtime.CompilerServices;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Memory;
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
/// INDIRECT           AwaitPages, if there is no room ─► FetchSegments ─► as READ or WRITE
/// </code>
/// Flushes that are wanted at the same time are one: <see cref="FlushGroup"/>. Before a Transfer of parts of blocks:
/// <see cref="BlockRmw"/>. With mapped or persistent grants [AwaitGrants ─►] Map replaces CopyIn, for READ too, and
/// there is no CopyOut. With persistent grants a BARRIER waits first: Barrier ─► [AwaitGrants ─►] Map ─► FlushBefore.
/// </remarks>
public sealed unsafe partial class VbdQueue<TAbi, TGrants, TEvents, TDisk>
{
    /// <summary>
    /// EINTR and EAGAIN are tried again this often, a millisecond apart, before the guest is told.
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
                else if (MovesData && _plan.Mode != GrantMode.Copy)
                    Fetch(index, ref slot);
                else
                    BeginRead(index, ref slot);
                break;
            case Blkif.OpWrite:
                slot.Kind = RequestKind.Write;
                if (_plan.IsReadOnly || !TryMeasure(ref slot))
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
                if (_plan.IsReadOnly || !TryMeasureFlush(ref slot))
                    Reject(index, ref slot, Blkif.RspError);
                else if (slot.LengthBytes == 0)
                    BeginFlush(index, ref slot);
                else
                    Fetch(index, ref slot);
                break;
            case Blkif.OpWriteBarrier:
                slot.Kind = RequestKind.Flush;
                if (!_plan.OffersBarriers)
                    Reject(index, ref slot, Blkif.RspEopnotsupp);
                else if (_plan.IsReadOnly || !TryMeasureFlush(ref slot))
                    Reject(index, ref slot, Blkif.RspError);
                else
                    BeginBarrier(index, ref slot);
                break;
            case Blkif.OpDiscard:
                slot.Kind = RequestKind.Discard;
                // Not in the ring's entry: what is here is of the slot's last request.
                slot.Request.NrSegments = 0;
                if (
                    _plan.IsReadOnly
                    || !RequestValidator.FitsDisk(
                        slot.Request.SectorNumber,
                        slot.Request.NrSectors,
                        _pass.CapacitySectors
                    )
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

    /// <summary>INDIRECT: READ and WRITE whose segments are listed in pages of their own.</summary>
    private void DispatchIndirect(int index, ref RequestSlot slot)
    {
        int operation = slot.Request.IndirectOp,
            segments = slot.Request.NrSegments;
        if (_plan.MaxIndirectSegments == 0 || operation is not (Blkif.OpRead or Blkif.OpWrite))
        {
            slot.Kind = RequestKind.Other;
            Reject(index, ref slot, _plan.MaxIndirectSegments == 0 ? Blkif.RspEopnotsupp : Blkif.RspError);
            return;
        }
        // Answered as the READ or WRITE that it is: frontends compare the response with indirect_op (Linux).
        (*slot.Record).MarkIndirect((byte)operation);
        slot.Kind = operation == Blkif.OpRead ? RequestKind.Read : RequestKind.Write;
        if ((_plan.IsReadOnly && operation == Blkif.OpWrite) || segments == 0 || segments > _plan.MaxIndirectSegments)
        {
            Reject(index, ref slot, Blkif.RspError);
            return;
        }
        _admission.ChargeBytes(_pass.StartedAt, MostBytesOf(ref slot));
        if (_lines.Pages.Count > 0 || !TryFetchSegments(index, ref slot))
            ResourceLines.Wait(ref _lines.Pages, index, ref slot, SlotStage.AwaitPages);
    }

    /// <summary>
    /// What an INDIRECT request is charged before its list says how much it moves: a ring full of long ones would
    /// otherwise pass the limits of its device at once.
    /// </summary>
    private static int MostBytesOf(ref RequestSlot slot) => slot.Request.NrSegments * Arena.PageBytes;

    /// <summary>Takes pages for the request and has its list copied; false when there is no room now.</summary>
    private bool TryFetchSegments(int index, ref RequestSlot slot)
    {
        int segments = slot.Request.NrSegments;
        if (!_memory.TryTakeRun(ref slot, _plan.RunPagesOf(segments)))
            return false;
        _lines.Hold(ref slot, SlotHolds.Pages);
        slot.Stage = SlotStage.FetchSegments;
        _lists.AddPages(
            index,
            (uint*)&slot.Record->Request.IndirectGrefs,
            segments * sizeof(Blkif.RequestSegment),
            _memory.ListOf(ref slot)
        );
        return true;
    }

    /// <summary>The list is checked; from here on the request goes as a direct one does.</summary>
    private void BeginFetched(int index, ref RequestSlot slot)
    {
        ReadOnlySpan<Blkif.RequestSegment> segments = new(_memory.SegmentsOf(ref slot), slot.Request.NrSegments);
        bool fits = RequestValidator.TryMeasure(
            segments,
            slot.Request.SectorNumber,
            _pass.CapacitySectors,
            out int sectors
        );
        if (fits)
            SetExtent(ref slot, sectors);
        if (!fits || (_plan.NativeSectors && !_blocks.IsWholeBlocks(ref slot)))
        {
            _admission.RefundBytes(MostBytesOf(ref slot));
            Reject(index, ref slot, Blkif.RspError);
            return;
        }
        _admission.RefundBytes(MostBytesOf(ref slot) - slot.LengthBytes);
        if (slot.Kind == RequestKind.Read && _plan.Mode == GrantMode.Copy)
            BeginRead(index, ref slot);
        else
            Fetch(index, ref slot);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool TryMeasure(ref RequestSlot slot)
    {
        if (!RequestValidator.TryMeasure(in slot.Request, _pass.CapacitySectors, out int sectors))
            return false;
        SetExtent(ref slot, sectors);
        if (MovesData && _plan.NativeSectors && !_blocks.IsWholeBlocks(ref slot))
            return false;
        _admission.ChargeBytes(_pass.StartedAt, slot.LengthBytes);
        return true;
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
        if (slot.Request.NrSegments == 0)
            (slot.OffsetBytes, slot.LengthBytes, slot.DoneBytes) = (0, 0, 0);
        else if (!TryMeasure(ref slot))
            return false;
        _admission.ChargeFlush(_pass.StartedAt);
        return true;
    }

    /// <summary>
    /// Does what <see cref="Start"/> does, in one piece for the commonest request: a tenth of the pass on the null
    /// disk.
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
        if (MovesData && _plan.MergesBlocks)
        {
            slot.Stage = SlotStage.Transfer;
            Start(index, ref slot);
            return;
        }
        slot.Generation++;
        DiskOperation operation = TransferOf(index, ref slot, DiskOperationKind.Read);
        int result = StartDisk(in operation);
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
    /// Where the data starts: at the first segment's own offset within a page, and contiguous from there. So a request
    /// is one disk operation, and no page-aligned segment straddles two local pages, for each of which gntdev would
    /// charge. It never passes as many pages as there may be segments, because the first segment ends within the first
    /// of them.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte* DataOf(int index, ref RequestSlot slot)
    {
        byte* buffer = _memory.BufferOf(index, ref slot);
        if (_plan.MergesBlocks)
            return buffer + _blocks.OffsetInBlock(slot.OffsetBytes);
        return slot.Request.NrSegments == 0
            ? buffer
            : buffer + (_memory.SegmentsOf(ref slot)->FirstSect << Disk.SectorShift);
    }

    /// <summary>
    /// Copies in what the guest writes, or maps the guest's pages, for READ too: with all other requests of the pass.
    /// </summary>
    private void Fetch(int index, ref RequestSlot slot)
    {
        if (!MovesData || _plan.Mode == GrantMode.Copy || slot.Request.NrSegments == 0)
            GatherCopies(index, ref slot, SlotStage.CopyIn);
        else if (_lines.Grants.Count > 0 || !TryGatherMaps(index, ref slot))
            ResourceLines.Wait(ref _lines.Grants, index, ref slot, SlotStage.AwaitGrants);
    }

    /// <summary>B9, B10: adds the data to the pass's grant copy.</summary>
    private void GatherCopies(int index, ref RequestSlot slot, SlotStage stage)
    {
        slot.Stage = stage;
        bool toGuest = stage == SlotStage.CopyOut;
        if (!toGuest)
            slot.Data = DataOf(index, ref slot);
        if (MovesData)
            _copies.AddData(index, _memory.SegmentsOf(ref slot), slot.Request.NrSegments, slot.Data, toGuest);
        else
            FinishFetch(index, ref slot, GrantTable.GntstOkay, FaultKind.GrantCopy);
    }

    /// <summary>
    /// Copies a READ's data to the guest. A disk may finish many reads at a time: what is beyond the fair share of this
    /// pass is copied in the next.
    /// </summary>
    private void CopyOut(int index, ref RequestSlot slot)
    {
        if (_lines.Copies.Count == 0 && _copies.SegmentCount < MaxSegmentsPerPass)
            GatherCopies(index, ref slot, SlotStage.CopyOut);
        else
            ResourceLines.Wait(ref _lines.Copies, index, ref slot, SlotStage.CopyOut);
    }

    /// <summary>
    /// Adds the request's pages to those that the pass maps; false when there is no room for them now.
    /// </summary>
    private bool TryGatherMaps(int index, ref RequestSlot slot)
    {
        if (
            !_maps.TryAdd(
                index,
                _memory.SegmentsOf(ref slot),
                slot.Request.NrSegments,
                writable: slot.Kind == RequestKind.Read,
                _memory.ReferencesOf(index, ref slot)
            )
        )
            return false;
        if (_plan.Mode == GrantMode.Persistent)
            _lines.Hold(ref slot, SlotHolds.Pins);
        slot.Stage = SlotStage.Map;
        return true;
    }

    /// <summary>Takes over what the pass's batch has mapped for the request, for one disk operation.</summary>
    /// <returns>GNTST_*</returns>
    private short TakeMapped(int index, ref RequestSlot slot, int place)
    {
        int count = slot.Request.NrSegments;
        uint* references = _memory.ReferencesOf(index, ref slot);
        short status = _maps.StatusOf(place, references, count, writable: slot.Kind == RequestKind.Read);
        if (status != GrantTable.GntstOkay)
            return status;
        if (_plan.Mode == GrantMode.Map)
        {
            slot.Mapped = _maps.AddressOf(place);
            _lines.Hold(ref slot, SlotHolds.Maps);
        }
        iovec* vectors = _memory.VectorsOf(index, ref slot);
        Blkif.RequestSegment* segments = _memory.SegmentsOf(ref slot);
        int used = 0;
        for (int i = 0; i < count; i++)
            used = SlotVectors.Append(vectors, used, _maps.PageOf(i, references, slot.Mapped), segments + i);
        SlotVectors.Set(ref slot, vectors, used);
        return status;
    }

    /// <summary>What was copied or mapped, or failed to be, takes the request to its next stage.</summary>
    private void FinishFetch(int index, ref RequestSlot slot, short status, FaultKind fault)
    {
        if (status != GrantTable.GntstOkay)
        {
            FailFetch(index, ref slot, status, fault);
            return;
        }
        switch (slot.Stage)
        {
            case SlotStage.CopyOut:
                Answer(index, ref slot, Blkif.RspOkay);
                break;
            case SlotStage.FetchSegments:
                BeginFetched(index, ref slot);
                break;
            case var _ when index == _barrier:
                slot.Stage = SlotStage.Barrier;
                break;
            default:
                slot.Stage = slot.Kind == RequestKind.Flush ? SlotStage.FlushBefore : SlotStage.Transfer;
                Start(index, ref slot);
                break;
        }
    }

    // Not inlined: the common way then saves fewer registers.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private void FailFetch(int index, ref RequestSlot slot, short status, FaultKind fault)
    {
        if (slot.Stage == SlotStage.FetchSegments)
            _admission.RefundBytes(MostBytesOf(ref slot));
        Fail(index, ref slot, fault, status);
    }

    /// <summary>
    /// A barrier waits for all that came before it, and holds back what comes after it: no request is taken meanwhile.
    /// </summary>
    private void BeginBarrier(int index, ref RequestSlot slot)
    {
        _barrier = index;
        // Grants that it pinned now could be those that the requests before it wait for.
        if (slot.LengthBytes > 0 && _plan.Mode != GrantMode.Persistent)
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
        // Requests answered in this pass, or adopted and not replayed, have slots but are not under way.
        if (slot.Stage != SlotStage.Barrier || InFlight - _slots.AnsweredCount - _takeover.Waiting != 1)
            return;
        if (_plan.Mode == GrantMode.Persistent && slot.LengthBytes > 0 && (slot.Holds & SlotHolds.Pins) == 0)
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
            StartDiscard(index, ref slot);
            return;
        }
        int result;
        do
        {
            if (slot.Stage is SlotStage.FlushBefore or SlotStage.FlushAfter)
            {
                if (index == _flushes.Leader)
                    StartFlush();
                else
                    WantFlush(index, ref slot);
                return;
            }
            if (_plan.MergesBlocks && slot.Stage == SlotStage.Transfer && !EnterBlocks(index, ref slot))
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
                    : _blocks.ReadOfEdge(ref slot, _memory.BufferOf(index, ref slot), TagOf(index, ref slot));
            operation.MayWait = (slot.Holds & SlotHolds.Place) != 0;
            if (slot.VectorCount > 0)
                SlotVectors.Give(ref slot, ref operation);
            if (operation.LengthBytes == 0)
            {
                // No segments: nothing to move, nothing that could fail.
                Finish(index, ref slot);
                return;
            }
            result = StartDisk(in operation);
        } while (result != IDiskIo.Pending && Advance(index, ref slot, result));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private int StartDisk(ref readonly DiskOperation operation)
    {
        int result = _io.Start(in operation);
        if (result == IDiskIo.Pending)
            _diskUnderWay++;
        return result;
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

    /// <summary>Read-modify-write: before its transfer a request takes on whole blocks; false when it waits.</summary>
    private bool EnterBlocks(int index, ref RequestSlot slot)
    {
        if ((slot.Holds & SlotHolds.Blocks) != 0 || slot.LengthBytes == 0)
            return true;
        if (slot.Kind == RequestKind.Read)
        {
            slot.Range = BlockRanges.None;
            _lines.Hold(ref slot, SlotHolds.Blocks);
            _blocks.Align(ref slot, _memory.BufferOf(index, ref slot));
            return true;
        }
        if (_lines.Blocks.Count == 0 && TryEnterBlocks(index, ref slot))
            return true;
        ResourceLines.Wait(ref _lines.Blocks, index, ref slot, SlotStage.AwaitBlocks);
        return false;
    }

    /// <summary>Takes the blocks of a write; false while another request writes one of them.</summary>
    private bool TryEnterBlocks(int index, ref RequestSlot slot)
    {
        if (!_blocks.TryTake(ref slot))
            return false;
        _lines.Hold(ref slot, SlotHolds.Blocks);
        slot.Stage = _blocks.FirstStage(ref slot);
        if (slot.Stage == SlotStage.Transfer)
            _blocks.Align(ref slot, _memory.BufferOf(index, ref slot));
        return true;
    }

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
                _blocks.AdvanceEdge(ref slot, _memory.BufferOf(index, ref slot), result);
                return true;
            case SlotStage.Transfer:
                slot.DoneBytes += result;
                if (slot.VectorCount > 0)
                    SlotVectors.Advance(ref slot, result);
                if (slot.DoneBytes < slot.LengthBytes)
                    return true;
                if (index == _barrier)
                {
                    slot.Stage = SlotStage.FlushAfter;
                    return true;
                }
                if (_plan.SyncsWrites && slot.Kind != RequestKind.Read && _disk.Lost.Errno is > 0 and int lost)
                {
                    Fail(index, ref slot, FaultKind.Disk, lost);
                    return false;
                }
                Finish(index, ref slot);
                return false;
            default:
                Finish(index, ref slot);
                return false;
        }
    }

    /// <summary>The disk is done: what a READ has read is copied to the guest; the rest is answered.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Finish(int index, ref RequestSlot slot)
    {
        if (MovesData && _plan.MergesBlocks && (slot.Holds & SlotHolds.Blocks) != 0)
            _blocks.Restore(ref slot);
        if (MovesData && slot.Kind == RequestKind.Read && slot.LengthBytes > 0 && _plan.Mode == GrantMode.Copy)
            CopyOut(index, ref slot);
        else
            Answer(index, ref slot, Blkif.RspOkay);
    }

    /// <summary>True when the operation is to be started again at once.</summary>
    private bool TakeError(int index, ref RequestSlot slot, int errno)
    {
        if (TDisk.TriesTransfers && errno is Errno.EAGAIN or Errno.EOPNOTSUPP && (slot.Holds & SlotHolds.Place) == 0)
            return EnterPlaces(index, ref slot, errno);
        if (TryRetry(ref slot, errno))
            RequeueLater(index, ref slot);
        else if (slot.Stage == SlotStage.Transfer && slot.Kind != RequestKind.Read && _disk.MayLoseBy(errno))
            LoseWrites(index, ref slot, errno);
        else
            FailOrKeep(index, ref slot, errno);
        return false;
    }

    /// <summary>A write has failed, and writes that were answered before may be lost with it.</summary>
    private void LoseWrites(int index, ref RequestSlot slot, int errno)
    {
        _disk.Lost.Note(errno);
        // Done again, a write with O_DSYNC would be answered as one that keeps its promise.
        if (_disk.SyncsWrites)
            Fail(index, ref slot, FaultKind.Disk, errno);
        else
            FailOrKeep(index, ref slot, errno);
    }

    /// <summary>The disk has refused the request for good, or is full or gone.</summary>
    private void FailOrKeep(int index, ref RequestSlot slot, int errno)
    {
        if (!_lost.Keeps(errno))
        {
            Fail(index, ref slot, FaultKind.Disk, errno);
            return;
        }
        if ((slot.Holds & SlotHolds.Place) != 0)
        {
            _places.ReturnTransfer();
            _lines.Drop(ref slot, SlotHolds.Place);
        }
        _lost.Keep(index, ref slot, errno);
        _admission.IsSuspended = true;
    }

    /// <summary>
    /// A transfer that could not be done without waiting is started so that it may wait. False while as many as may
    /// wait already do: with a disk that hangs they are not done, and no further thread is to hang with them.
    /// </summary>
    private bool EnterPlaces(int index, ref RequestSlot slot, int errno)
    {
        if (errno == Errno.EOPNOTSUPP)
            _disk.NoteTriesRefused();
        // No completion of the operation before may pass for one of the next.
        slot.Generation++;
        if (_lines.Places.Count > 0 || !_places.HasTransfer)
        {
            _lines.Places.Add(index);
            return false;
        }
        TakePlace(ref slot);
        return true;
    }

    private void TakePlace(ref RequestSlot slot)
    {
        _places.TakeTransfer();
        _lines.Hold(ref slot, SlotHolds.Place);
    }

    private void StartWaiting(int index)
    {
        ref RequestSlot slot = ref _slots[index];
        TakePlace(ref slot);
        Start(index, ref slot);
    }

    /// <summary>Counts a retry; false when the error stays or was retried too often.</summary>
    private static bool TryRetry(ref RequestSlot slot, int errno)
    {
        if (errno is not (Errno.EINTR or Errno.EAGAIN) || slot.Retries >= MaxRetries)
            return false;
        slot.Retries++;
        return true;
    }

    private void RequeueLater(int index, ref RequestSlot slot)
    {
        Statistics.RetriesField++;
        slot.Generation++;
        _retries.Add(index, _retries.IsEmpty ? _clock.GetTimestamp() : 0);
    }

    private void BeginDiscard(int index, ref RequestSlot slot)
    {
        slot.Stage = SlotStage.Discard;
        DiscardPieces.Begin(ref slot, _disk);
        _admission.ChargeDiscard(_pass.StartedAt, slot.DiscardEnd - slot.OffsetBytes);
        StartDiscard(index, ref slot);
    }

    private void StartDiscard(int index, ref RequestSlot slot)
    {
        while (DiscardPieces.HasNext(ref slot) && _places.HasDiscard)
        {
            DiskOperation operation = DiscardPieces.Next(ref slot, _disk);
            operation.Tag = TagOf(index, ref slot);
            int result = StartDisk(in operation);
            if (result == IDiskIo.Pending)
                _places.TakeDiscard();
            DiscardPieces.NoteStarted(ref slot, result);
        }
        // With pieces under way, the next of them to end goes on with the rest.
        if (slot.DiscardPieces != 0)
            return;
        if (DiscardPieces.HasNext(ref slot))
            _lines.Discards.Add(index);
        else
            FinishDiscard(index, ref slot);
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
                DiscardPieces.Rewind(ref slot, _disk);
                RequeueLater(index, ref slot);
                break;
            case Errno.EOPNOTSUPP when _disk.RefuseDiscard(slot.DiscardMethod):
                DiscardPieces.Rewind(ref slot, _disk);
                StartDiscard(index, ref slot);
                break;
            case Errno.EOPNOTSUPP:
                slot.Invalid = true;
                Answer(index, ref slot, Blkif.RspEopnotsupp);
                break;
            default:
                FailOrKeep(index, ref slot, slot.DiscardError);
                break;
        }
    }

    /// <summary>
    /// A completion, from the reactor's ring or from the disk itself. A stale one is counted and not followed.
    /// </summary>
    private void Complete(ulong tag, int result)
    {
        int index = (ushort)(tag >> 32);
        if (index >= _slots.Count || !AwaitsDisk(index, ref _slots[index], (uint)tag))
        {
            Statistics.StaleCompletionsField++;
            return;
        }
        ref RequestSlot slot = ref _slots[index];
        *_workingOn = (uint)index + 1;
        if (slot.Stage == SlotStage.Discard)
        {
            DiscardPieces.Complete(ref slot, (uint)tag, result);
            _places.ReturnDiscard();
            _lines.NoteRoom();
            StartDiscard(index, ref slot);
        }
        else if (index == _flushes.Leader)
            CompleteFlush(result);
        else if (Advance(index, ref slot, result))
            Start(index, ref slot);
    }

    private bool AwaitsDisk(int index, ref RequestSlot slot, uint generation) =>
        slot.Stage switch
        {
            SlotStage.FlushBefore or SlotStage.FlushAfter => index == _flushes.Leader && generation == slot.Generation,
            SlotStage.Transfer or SlotStage.ReadHead or SlotStage.ReadTail => generation == slot.Generation,
            SlotStage.Discard => DiscardPieces.IsUnderWay(ref slot, generation),
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
            _pass.StartedAt
        );
        Answer(index, ref slot, status);
    }

    private void Fail(int index, ref RequestSlot slot, FaultKind fault, int code)
    {
        Faults.Report(fault, slot.Request.Operation, code, slot.Request.SectorNumber, _pass.StartedAt);
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
        ref Journal.Record record = ref *slot.Record;
        uint place = _ring.RspProdPvt;
        _ring.PutResponse(
            new Blkif.DecodedResponse
            {
                Id = record.Request.Id,
                Operation = record.Request.Operation,
                Status = (short)status,
            }
        );
        record.MarkAnswered(place);
        _slots.AddAnswered(index);
    }
}
