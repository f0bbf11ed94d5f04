using System.Diagnostics;
using System.Runtime.CompilerServices;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Memory;
using Blkring.Engine.Telemetry;
using Blkring.Interop;

namespace Blkring.Engine.Queues;

/// <summary>
/// The data plane of one ring. This file is the pass; the way of a single request is in VbdQueue.Request.cs.
/// </summary>
/// <remarks>
/// <code>
/// completions ─► finish disk I/O ────────────────────────┐
/// ring ─► copy ─► validate ──────────────────────────────┴─► one grant copy, or map ─► disk, responses
///           └─► one grant copy of segment lists ─► validate ─┘      ─► one push ─► notify if asked ─► more?
/// </code>
/// Nothing here allocates, throws because of a guest, or calls through an interface for a request.
/// </remarks>
[SkipLocalsInit]
public sealed unsafe partial class VbdQueue<TAbi, TGrants, TEvents, TDisk> : VbdQueue
    where TAbi : struct, Blkif.IRing
    where TGrants : struct, IGrants
    where TEvents : struct, IEventChannel
    where TDisk : struct, IDiskIo
{
    private const int NoSlot = -1;

    // Neighbours and parts are structs with state: not readonly, or every call would work on a copy.
    private Blkif.BackRing<TAbi> _ring;
    private TGrants _grants;
    private TEvents _events;
    private TDisk _io;
    private readonly Disk _disk;

    private readonly QueuePlan _plan;
    private readonly TimeProvider _clock;
    private readonly RingJournal? _journal;
    private readonly BlockRmw _blocks;
    private QueueMemory _memory;
    private SlotPool _slots;
    private GrantCopyBatch _copies,
        _lists;
    private GrantMapBatch _maps;
    private FlushGroup _flushes;
    private RetryLine _retries;
    private ResourceLines _lines;
    private LostDisk _lost;
    private WaitingPlaces _places;
    private Admission _admission;
    private Takeover _takeover;

    // The barrier that all later requests wait for.
    private int _barrier = NoSlot;

    // Where the journal has which record is worked on (Journal.Header.WorkingOn); without one, a place of its own.
    private uint* _workingOn;

    // Operations that the kernel or the disk's thread still has: their buffers must stay, whatever became of the slots.
    private int _diskUnderWay;

    private EventState _event;
    private PassFacts _pass;

    // The reactor's number of this queue, where the tags of completions have it.
    private ulong _tagBase;

    /// <param name="sring">The ring pages, contiguous and mapped read-write for as long as the queue lives.</param>
    public VbdQueue(byte* sring, VbdQueueOptions options, Disk disk, TGrants grants, TEvents events, TDisk io)
    {
        _ring = Blkif.BackRing<TAbi>.Attach(sring, options.RingPages, options.RingIndex);
        (_disk, _grants, _events, _io) = (disk, grants, events, io);
        (_clock, _journal) = (options.Clock, options.Journal);
        JournalSize? adopted = options is { Takeover: true, ForgoesJournal: false }
            ? FindLeft(options.RingIndex)
            : null;
        uint? failed = adopted is null ? null : _journal!.TakeSuspect(options.AfterCrash, options.Suspect);
        _plan = new QueuePlan(options, disk, (int)_ring.EntryCount, adopted);
        _blocks = new BlockRmw(_plan.MergesBlocks ? disk.Ranges : null, disk.AlignmentBytes);
        _admission = new Admission(options.Throttle);
        if (adopted is null)
            _journal?.Begin(new JournalSize(_plan.Slots, _plan.MaxIndirectSegments), options.RingIndex);

        Arena arena = Arena.ToMeasure();
        CutParts(arena, options);
        arena.Map();
        CutParts(arena, options);
        if (_journal is not null)
            _workingOn = _journal.WorkingOn;

        _flushes = new FlushGroup(_slots.NewList());
        _lines = new ResourceLines(_slots.NewList());
        _lost = new LostDisk(options.KeepsLostRequests && _journal is not null, _slots.NewList());
        uint posted = _ring.LoadRequestProducer() - _ring.RspProdPvt;
        _ring.ReqCons += (uint)_takeover.Adopt(ref _slots, _ring.RspProdPvt, posted);
        _takeover.Fail(failed);
    }

    /// <returns>The size of the queue whose requests are replayed; null where none is under way.</returns>
    /// <exception cref="VbdConnectException">Requests have no response, and which of them are under way is
    /// unknown.</exception>
    private JournalSize? FindLeft(uint rspProd)
    {
        if (_journal is null)
            return null;
        JournalFinding found = _journal.OpenExisting(rspProd, _ring.EntryCount);
        uint unanswered = _ring.LoadRequestProducer() - rspProd;
        // Where nothing was ever answered, all that is on the ring is under way, in its order.
        if (found.State is JournalState.Missing or JournalState.Foreign && rspProd != 0 && unanswered != 0)
            throw _journal.Lost(found.State, unanswered);
        return found.State == JournalState.Left ? found.Size : null;
    }

    /// <summary>The memory plan: called once to measure the arena, and once to cut it.</summary>
    private void CutParts(Arena arena, VbdQueueOptions options)
    {
        ushort frontend = options.Frontend.Value;
        _memory = new QueueMemory(arena, in _plan);
        _slots = new SlotPool(arena, _plan.Slots, _journal is null ? null : _journal.Records);
        _copies = new GrantCopyBatch(arena, _plan.Slots, _plan.CopySegments, frontend);
        _lists = new GrantCopyBatch(arena, _plan.Slots, _plan.ListPages, frontend);
        _maps = new GrantMapBatch(arena, in _plan, frontend, Statistics, Faults);
        _retries = new RetryLine(arena, _plan.Slots, TicksOf(options.RetryDelay));
        _takeover = new Takeover(arena, _plan.Slots);
        _workingOn = arena.Take<uint>(1);
    }

    private static long TicksOf(TimeSpan time) => (long)(time.TotalSeconds * Stopwatch.Frequency);

    private static bool MovesData
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => TGrants.MovesData && TDisk.MovesData;
    }

    public override int InFlight => Crash is null ? _slots.InFlight : _diskUnderWay;
    public override long OldestTakenAt => _slots.OldestTakenAt;
    public override int LostErrno => _lost.Errno;

    public override bool IsQuiet =>
        InFlight == 0
        || (
            Crash is null
            && _lost.Errno != 0
            && InFlight
                == _lost.Requests.Count
                    + _lines.Pages.Count
                    + _lines.Grants.Count
                    + _lines.Blocks.Count
                    + _takeover.Waiting
                    + (_barrier != NoSlot && _slots[_barrier].Stage == SlotStage.Barrier ? 1 : 0)
        );

    public override void FailLost()
    {
        if (Crash is not null)
            return;
        int errno = _lost.Errno;
        _lost.GiveUp();
        _admission.IsSuspended = false;
        while (_lost.Requests.Count > 0)
        {
            int index = _lost.Requests.TakeFirst();
            Fail(index, ref _slots[index], FaultKind.Disk, errno);
        }
    }

    public override bool IsBroken => _admission.IsBroken;
    public override bool IsAttached => _admission.IsAttached;

    public override void AttachRing()
    {
        if (Crash is null)
            (_admission.IsAttached, _event.IsArmed) = (true, false);
    }

    public override void DetachRing() => _admission.IsAttached = false;

    public override PassResult RunPass(bool frontendHasOwnCpu = false)
    {
        if (Crash is not null)
            return ReapAfterCrash();
        if (_lines.Copies.Count > 0)
            RestartCopies();
        ReapDisk();
        if (!_retries.IsEmpty)
            Requeue();
        RestartWaiting();
        if (_flushes.HeldUntil != 0)
            ReleaseFlushes();
        if (MayReplay)
            Replay();
        TakeRequests(frontendHasOwnCpu);
        FetchSegments();
        MapGrants();
        CopyGrants(ref _copies);
        StartFlushes();
        ReleaseBarrier();
        if (_slots.AnsweredCount > 0)
            PushResponses();

        if (HasRequests || _lines.CanRestart || _lines.Copies.Count > 0 || MayReplay)
            return PassResult.More;
        return !_retries.IsEmpty || _lines.Blocks.Count > 0 || _flushes.HeldUntil != 0 || _admission.IsThrottled
            ? PassResult.Retry
            : PassResult.Idle;
    }

    /// <summary>
    /// B3: the producer index is read once; each request is copied once, and the consumer moves on before it is
    /// processed.
    /// </summary>
    private void TakeRequests(bool frontendHasOwnCpu)
    {
        if (!_admission.IsOpen)
            return;

        _admission.BeginPass();
        uint producer = _ring.LoadRequestProducer();
        uint posted = producer - _ring.ReqCons;
        // B4: a frontend has at most a ring of requests outstanding, those without a response included. One comparison
        // covers a producer too far ahead and one that went backwards.
        if (posted > _ring.EntryCount - (_ring.ReqCons - _ring.RspProdPvt))
        {
            _admission.Break();
            Faults.ReportBrokenRing(producer, _ring.ReqCons, _pass.StartedAt);
            return;
        }
        if (posted == 0)
            return;

        // One clock reading serves all requests of the pass, and an idle look at the ring costs none.
        _pass.StartedAt = _admission.NeedsClock ? _clock.GetTimestamp() : ReadClock();
        _pass.CapacitySectors = _disk.CapacitySectors;
        _event.IsArmed = false;
        uint first = _ring.ReqCons,
            last = first + Admission.ShareOf(posted, frontendHasOwnCpu);
        int segments = 0;
        // B2: without a free slot the rest waits on the ring; HasRequests remembers it. So it does behind a barrier.
        while (_ring.ReqCons != last && _slots.HasFree && _barrier == NoSlot && segments < MaxSegmentsPerPass)
        {
            if (_admission.IsLimited)
            {
                if (!_admission.MayTake(_pass.StartedAt))
                {
                    _admission.NoteThrottled();
                    break;
                }
                _admission.ChargeRequest(_pass.StartedAt);
            }
            int index = _slots.Take();
            ref RequestSlot slot = ref _slots[index];
            ref Journal.Record record = ref _slots.RecordOf(index);
            _ring.CopyRequest(_ring.ReqCons, ref record.Decoded());
            record.MarkTaken(_ring.ReqCons);
            *_workingOn = (uint)index + 1;
            _ring.ReqCons++;
            Begin(index, ref slot);
            // Afterwards: a DISCARD has no segments, and it is Begin that says so.
            segments += record.Request.NrSegments;
        }
        *_workingOn = 0;
        Statistics.PassesField++;
        Statistics.BatchSize.Record(_ring.ReqCons - first);
        Statistics.QueueDepth.Record(InFlight);
    }

    /// <summary>The request is in its slot: it goes its way.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Begin(int index, ref RequestSlot slot)
    {
        slot.TakenAt = _pass.StartedAt;
        slot.Retries = 0;
        slot.Invalid = false;
        Dispatch(index, ref slot);
    }

    private bool MayReplay => _takeover.Waiting > 0 && _barrier == NoSlot;

    /// <summary>
    /// Replays what the killed daemon had under way, in its order. What comes behind a barrier waits even if the
    /// barrier had completed, because it is replayed.
    /// </summary>
    private void Replay()
    {
        _pass.StartedAt = ReadClock();
        _pass.CapacitySectors = _disk.CapacitySectors;
        while (MayReplay)
        {
            int index = _takeover.Next();
            ref RequestSlot slot = ref _slots[index];
            *_workingOn = (uint)index + 1;
            if (_takeover.IsFailed(in *slot.Record))
            {
                FailSuspect(index, ref slot);
                continue;
            }
            if (slot.Record->IsIndirect != 0)
                slot.Request.Operation = (byte)Blkif.OpIndirect;
            Begin(index, ref slot);
        }
        *_workingOn = 0;
    }

    /// <summary>One grant copy for the segment lists of all INDIRECT requests of the pass.</summary>
    private void FetchSegments()
    {
        if (_lists.IsEmpty)
            return;
        _pass.CapacitySectors = _disk.CapacitySectors;
        CopyGrants(ref _lists);
    }

    /// <summary>
    /// One call for the whole batch (B16); then each request goes its way by the status of its own segments.
    /// </summary>
    private void CopyGrants(ref GrantCopyBatch batch)
    {
        if (batch.IsEmpty)
            return;
        // A write without segments has nothing to copy: alone it must cost no call.
        if (batch.SegmentCount > 0)
        {
            _grants.Copy(batch.Segments, batch.SegmentCount);
            Statistics.GrantCopyCallsField++;
            Statistics.GrantCopySegmentsField += batch.SegmentCount;
        }
        GrantCopyBatch.Results results = batch.TakeResults();
        while (results.TryTake(out int index, out short status))
        {
            *_workingOn = (uint)index + 1;
            FinishFetch(index, ref _slots[index], status, FaultKind.GrantCopy);
        }
        *_workingOn = 0;
    }

    /// <summary>One call for all requests of the pass; each goes its way by the status of its own pages.</summary>
    private void MapGrants()
    {
        if (_maps.IsEmpty)
            return;
        if (_maps.Call(ref _grants, _pass.StartedAt))
            _lines.NoteRoom();
        int count = _maps.TakeMembers();
        for (int place = 0; place < count; place++)
        {
            int index = _maps.MemberAt(place);
            ref RequestSlot slot = ref _slots[index];
            *_workingOn = (uint)index + 1;
            FinishFetch(index, ref slot, TakeMapped(index, ref slot, place), FaultKind.GrantMap);
        }
        *_workingOn = 0;
    }

    /// <summary>B14: pushed once for the pass; notified only when the frontend's rsp_event asks for it.</summary>
    private void PushResponses()
    {
        long now = ReadClock();
        AccountAnswered(now);
        if (_lines.AnyHeld)
            ReleaseAnswered(now);
        uint answered = (uint)_slots.FreeAnswered(),
            pushed = _ring.RspProdPvt;

        Statistics.PushesField++;
        bool notify = _ring.PushResponses();
        _journal?.NotePushed(pushed);
        if (RequestRecord.MustForget(pushed - answered, pushed))
            _slots.ForgetAnswered();
        if (!notify)
            return;
        Statistics.NotificationsField++;
        _events.Notify();
    }

    /// <summary>
    /// B21. Requests of one kind that were taken together and succeeded are counted together: in most passes that is
    /// all of them, and counting them one by one cost a fifth of the pass on the null disk.
    /// </summary>
    private void AccountAnswered(long now)
    {
        int count = _slots.AnsweredCount;
        for (int i = 0; i < count; )
        {
            ref RequestSlot first = ref _slots[_slots.AnsweredAt(i++)];
            KindStatistics kind = Statistics[first.Kind];
            if (first.Status != Blkif.RspOkay)
            {
                if (first.Invalid)
                {
                    kind.InvalidField++;
                }
                else
                {
                    kind.FailedField++;
                    kind.LatencyNs.Record(TicksToNs(now - first.TakenAt));
                }
                continue;
            }

            int start = i - 1;
            long bytes = first.AnsweredBytes;
            for (; i < count; i++)
            {
                ref RequestSlot next = ref _slots[_slots.AnsweredAt(i)];
                if (next.Kind != first.Kind || next.TakenAt != first.TakenAt || next.Status != Blkif.RspOkay)
                    break;
                bytes += next.AnsweredBytes;
            }
            kind.OperationsField += i - start;
            kind.BytesField += bytes;
            kind.LatencyNs.Record(TicksToNs(now - first.TakenAt), i - start);
        }
    }

    /// <summary>Before the push: once it has its response, a frontend uses its pages again.</summary>
    private void ReleaseAnswered(long now)
    {
        for (int i = 0; i < _slots.AnsweredCount; i++)
        {
            int index = _slots.AnsweredAt(i);
            ref RequestSlot slot = ref _slots[index];
            if (slot.Holds == SlotHolds.None)
                continue;
            if ((slot.Holds & (SlotHolds.Maps | SlotHolds.Pins)) != 0)
                _maps.Release(ref slot, _memory.ReferencesOf(index, ref slot), now);
            if ((slot.Holds & SlotHolds.Blocks) != 0)
                _blocks.Return(ref slot);
            if ((slot.Holds & SlotHolds.Pages) != 0)
                _memory.ReturnRun(ref slot);
            if ((slot.Holds & SlotHolds.Place) != 0)
                _places.ReturnTransfer();
            _lines.Release(ref slot);
        }
        _maps.CallUnmap(ref _grants, _pass.StartedAt);
    }

    // The null disk takes no time, and the clock costs as much as five requests on it: what is left unmeasured there is
    // shown as 0.
    private long ReadClock() => TDisk.MovesData ? _clock.GetTimestamp() : 0;

    // Stopwatch ticks are nanoseconds on Linux; the general form costs a division per request.
    private static long TicksToNs(long ticks) =>
        Stopwatch.Frequency == 1_000_000_000 ? ticks : ticks * 1_000_000_000 / Stopwatch.Frequency;

    /// <summary>
    /// B15: whether unconsumed requests exist that can be taken now. An index that cannot be true counts: the next pass
    /// refuses it.
    /// </summary>
    public override bool HasRequests => _admission.IsOpen && CanTake && _ring.LoadRequestProducer() != _ring.ReqCons;

    public override bool HasUnanswered =>
        InFlight > 0 || (_admission.IsOpen && _ring.LoadRequestProducer() != _ring.ReqCons);

    /// <remarks>
    /// B15. Apart from the pass, because it writes to the line that the frontend polls, fences, and asks for an event:
    /// a thread that runs a further pass anyway need not pay that (measured: a twentieth of the ring alone).
    /// </remarks>
    public override bool FinalCheckForRequests()
    {
        // Nothing can be taken before a completion, which wakes the thread anyway: an event would wake it for nothing.
        if (_event.IsArmed || !_admission.IsOpen || !CanTake)
            return false;
        bool more = _ring.FinalCheckForRequests();
        _event.IsArmed = !more;
        return more;
    }

    public override void NotifyFrontend() => _events.Notify();

    private bool CanTake => _slots.HasFree && _barrier == NoSlot && _admission.IsWithinLimits;

    private void ReapDisk()
    {
        int count;
        do
        {
            Span<DiskCompletion> completions = _memory.Completions;
            count = _io.Reap(completions);
            _diskUnderWay -= count;
            for (int i = 0; i < count; i++)
                Complete(completions[i].Tag, completions[i].Result);
        } while (count == QueuePlan.ReapBatch);
    }

    /// <summary>Starts the disk operations again that failed with EAGAIN or EINTR, once their delay is over.</summary>
    private void Requeue()
    {
        for (int count = _retries.BeginDue(_clock.GetTimestamp()); count > 0; count--)
        {
            int index = _retries.TakeFirst();
            *_workingOn = (uint)index + 1;
            Start(index, ref _slots[index]);
        }
    }

    private void RestartCopies()
    {
        while (_lines.Copies.Count > 0 && _copies.SegmentCount < MaxSegmentsPerPass)
        {
            int index = _lines.Copies.TakeFirst();
            GatherCopies(index, ref _slots[index], SlotStage.CopyOut);
        }
    }

    /// <summary>
    /// Requests that wait for a resource go on, in their order, until one has to wait longer: after something came
    /// back.
    /// </summary>
    private void RestartWaiting()
    {
        // Blocks may have been taken by another queue, which does not tell when it returns them.
        if (_lines.Blocks.Count > 0)
            RestartBlocks();
        if (!_lines.CanRestart)
            return;
        _lines.BeginRestart();
        while (_lines.Pages.Count > 0 && TryFetchSegments(_lines.Pages.First, ref _slots[_lines.Pages.First]))
            _lines.Pages.TakeFirst();
        while (_lines.Grants.Count > 0 && TryGatherMaps(_lines.Grants.First, ref _slots[_lines.Grants.First]))
            _lines.Grants.TakeFirst();
        while (_lines.Places.Count > 0 && _places.HasTransfer)
            StartWaiting(_lines.Places.TakeFirst());
        while (_lines.Discards.Count > 0 && _places.HasDiscard)
        {
            int index = _lines.Discards.TakeFirst();
            StartDiscard(index, ref _slots[index]);
        }
    }

    private void RestartBlocks()
    {
        while (_lines.Blocks.Count > 0 && TryEnterBlocks(_lines.Blocks.First, ref _slots[_lines.Blocks.First]))
        {
            int index = _lines.Blocks.TakeFirst();
            Start(index, ref _slots[index]);
        }
    }

    internal override uint TakeCompletions(IoUring ring, uint head, uint tail)
    {
        if (Crash is not null)
            return TakeAfterCrash(ring, head, tail);
        for (; head != tail; head++)
        {
            io_uring_cqe* cqe = ring.CompletionAt(head);
            if ((cqe->user_data ^ _tagBase) >> 48 != 0)
                break;
            CompletionsTaken = head + 1;
            if ((ushort)(cqe->user_data >> 32) == EventSlot)
            {
                _events.CompleteWait(cqe->res);
                EventWaitCompleted = _event.IsMasked = true;
            }
            else
            {
                _diskUnderWay--;
                Complete(cqe->user_data, cqe->res);
            }
        }
        *_workingOn = 0;
        return head;
    }

    internal override void AttachDisk(ushort queueIndex, IoUring? ring, Action? wake = null)
    {
        _tagBase = (ulong)queueIndex << 48;
        // Mapped pages come and go: there is nothing to register.
        bool copies = _plan.Mode == GrantMode.Copy;
        _io.Attach(
            new DiskAttachment
            {
                Ring = ring,
                Buffers = copies ? _memory.Buffers : null,
                BuffersLengthBytes = copies ? _memory.BuffersLengthBytes : 0,
                MaxOperations = _slots.Count + WaitingPlaces.Discards,
                Wake = wake,
            }
        );
    }

    internal override void DetachDisk()
    {
        // After a crash the parts may contradict each other: what is mapped then stays so until the process ends.
        if (Crash is null)
        {
            // Nothing is in flight: all that is still mapped is unmapped.
            _maps.ReleaseUnused(ref _grants, long.MaxValue, _pass.StartedAt);
        }
        _io.Detach();
    }

    public override bool HoldsIdleGrants => Crash is null && _maps.HoldsPersistent;

    public override int ReleaseIdleGrants(long now, int maxRanges) =>
        Crash is null
            ? _maps.ReleaseUnused(ref _grants, now - _plan.PersistentIdleTicks, _pass.StartedAt, maxRanges)
            : 0;

    internal override int EventDescriptor => _events.Descriptor;

    internal override void PrepareEventWait(io_uring_sqe* sqe)
    {
        _events.PrepareWait(sqe);
        sqe->user_data = _tagBase | ((ulong)EventSlot << 32);
    }

    internal override void ConsumeEvent()
    {
        _events.Consume();
        _event.IsMasked = true;
    }

    internal override long UnmaskEvents()
    {
        // Armed: the final check is in force, so the frontend will notify the next request.
        if (!_event.IsMasked || !_event.IsArmed || !_admission.IsOpen)
            return 0;
        long hold = _event.HoldNs(_ring.ReqCons, _clock);
        if (hold > 0)
            return hold;
        _event.IsMasked = false;
        _events.Unmask();
        return 0;
    }

    protected override void Dispose(bool disposing)
    {
        if (!disposing)
            return;
        // Of requests that are kept for another queue: the disk's other queues wait for their blocks.
        while (Crash is null && _lost.Requests.Count > 0)
        {
            ref RequestSlot slot = ref _slots[_lost.Requests.TakeFirst()];
            if ((slot.Holds & SlotHolds.Blocks) != 0)
                _blocks.Return(ref slot);
        }
        // Nor do they wait for a flush that this queue no longer sees.
        _disk.Flushes.End(_flushes.Place);
        _memory.Dispose();
        if (Crash is null && InFlight == 0)
            _journal?.End();
        _journal?.Dispose();
    }
}
