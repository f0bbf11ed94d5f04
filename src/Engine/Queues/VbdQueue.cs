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
/// completions ─► finish disk I/O ─────────────────────┐
/// ring ─► copy ─► validate ───────────────────────────┴─► one grant copy, or map ─► disk, responses ─► one push ─► notify if asked ─► more?
///            └─► one grant copy of lists ─► validate ─┘
/// </code>
/// Nothing here allocates, throws on a guest's doing, or calls through an interface for a request.
/// </remarks>
public sealed unsafe partial class VbdQueue<TAbi, TGrants, TEvents, TDisk> : VbdQueue
    where TAbi : struct, Blkif.IRing
    where TGrants : struct, IGrants
    where TEvents : struct, IEventChannel
    where TDisk : struct, IDiskIo
{
    private const int DirectSegments = Blkif.MaxSegmentsPerRequest;
    private const int ReapBatch = 64;

    // Structs with state: not readonly, or every call would work on a copy.
    private Blkif.BackRing<TAbi> _ring;
    private TGrants _grants;
    private TEvents _events;
    private TDisk _io;

    private readonly Disk _disk;
    private readonly bool _readOnly,
        _barriers;
    private readonly GrantMode _mode;
    private readonly bool _bounces,
        _nativeSectors;
    private readonly long _blockMask;
    private readonly int _bytesPerSlot;
    private readonly ushort _frontend;

    // The arena and what is cut from it. Raw pointers are used while this object, which owns the arena, is alive.
    private readonly Arena _arena;
    private readonly RequestSlot* _slots;
    private readonly byte* _buffers;
    private readonly nuint _buffersLengthBytes;
    private readonly PagePool _pool;
    private readonly GrantCopySegment* _copies,
        _listCopies;
    private readonly GrantMapping* _maps;
    private readonly byte* _scratch;
    private readonly ushort* _free,
        _copying,
        _mapping,
        _describing,
        _answered,
        _postponed;
    private readonly DiskCompletion* _reaped;
    private readonly int _slotCount,
        _maxIndirectSegments;
    private int _freeCount,
        _copyingCount,
        _copyCount,
        _mappingCount,
        _mapCount,
        _describingCount,
        _listCopyCount,
        _answeredCount,
        _postponedCount;

    private PersistentGrants _persistent;
    private SlotList _awaitingPages,
        _awaitingGrants,
        _awaitingBlocks,
        _awaitingCopy;

    // The first of those in the flush under way, and all of them; those who wait for the next.
    private int _flush = NoSlot;
    private SlotList _flushing,
        _flushesWanted;
    private int _holding;
    private bool _released;

    private int _barrier = NoSlot;
    private bool _attached,
        _broken,
        _armed,
        _eventTaken;
    private ulong _tagBase;
    private readonly long _retryDelayTicks,
        _persistentIdleTicks;
    private long _capacity,
        _passStarted,
        _postponedAt;

    private const int NoSlot = -1;

    /// <param name="sring">The ring pages, contiguous and mapped read-write for as long as the queue lives.</param>
    public VbdQueue(byte* sring, VbdQueueOptions options, Disk disk, TGrants grants, TEvents events, TDisk io)
    {
        _ring = Blkif.BackRing<TAbi>.Attach(sring, options.RingPages, options.RingIndex);
        (_disk, _grants, _events, _io) = (disk, grants, events, io);
        _readOnly = options.ReadOnly || disk.ReadOnly;
        _barriers = options.Barriers;
        _frontend = options.Frontend.Value;
        _throttle = options.Throttle;
        _retryDelayTicks = (long)(options.RetryDelay.TotalSeconds * Stopwatch.Frequency);
        _slotCount = Math.Clamp(options.MaxInFlight ?? int.MaxValue, 1, (int)_ring.EntryCount);
        _mode = options.GrantMode;
        _blockMask = disk.AlignmentBytes - 1;
        _nativeSectors = options.NativeSectors;
        _bounces = disk.AlignmentBytes > Disk.SectorBytes && !options.NativeSectors;
        // Parts of blocks are put together in memory of our own: nothing is gained by mapping them as well.
        if (_bounces)
            _mode = GrantMode.Copy;
        _bytesPerSlot = (DirectSegments + (_bounces ? BlockPages : 0)) * Arena.PageBytes;
        _persistentIdleTicks = (long)(options.PersistentIdle.TotalSeconds * Stopwatch.Frequency);
        _maxIndirectSegments = Math.Clamp(options.MaxIndirectSegments, 0, VbdQueueOptions.IndirectSegmentsLimit);
        _journal = options.Journal;
        JournalSize? left = options.TakesOver ? _journal?.FindLeft() : null;
        // There must be room for what is to be done again.
        if (left is { } size)
            (_slotCount, _maxIndirectSegments) = (size.Slots, Math.Max(size.MaxIndirectSegments, _maxIndirectSegments));

        bool copies = _mode == GrantMode.Copy;
        int poolPages = _maxIndirectSegments == 0 ? 0 : options.PoolPages(RunPagesOf(_maxIndirectSegments), _slotCount);
        int bufferPages = (copies ? _slotCount * (_bytesPerSlot / Arena.PageBytes) : 0) + poolPages;
        // Each segment that can be copied at a time has a page of the buffers.
        int segments = copies ? bufferPages : 0,
            lists = _slotCount * ListPagesOf(_maxIndirectSegments);
        int persistent = _mode == GrantMode.Persistent ? options.PersistentCapacity(_slotCount) : 0;
        int ranges = persistent == 0 ? 0 : options.PersistentRanges(_slotCount);
        int maps = copies ? 0 : Math.Max(_slotCount, ranges);
        int scratchBytes = copies ? 0 : _slotCount * ScratchBytesPerSlot;
        _arena = new Arena(
            Arena.SizeOf<byte>(bufferPages * Arena.PageBytes, Arena.PageBytes)
                + Arena.SizeOf<ulong>(PagePool.WordsFor(poolPages))
                + Arena.SizeOf<RequestSlot>(_journal is null ? _slotCount : 0)
                + Arena.SizeOf<GrantCopySegment>(segments)
                + Arena.SizeOf<GrantCopySegment>(lists)
                + Arena.SizeOf<GrantMapping>(maps)
                + Arena.SizeOf<byte>(scratchBytes)
                + PersistentGrants.SizeOf(persistent, ranges)
                + Arena.SizeOf<DiskCompletion>(ReapBatch)
                + (7 * Arena.SizeOf<ushort>(_slotCount))
        );
        _buffers = _arena.Take<byte>(bufferPages * Arena.PageBytes, Arena.PageBytes);
        _buffersLengthBytes = (nuint)bufferPages * Arena.PageBytes;
        byte* poolStart = _buffers + ((nint)(bufferPages - poolPages) * Arena.PageBytes);
        _pool = new PagePool(poolStart, _arena.Take<ulong>(PagePool.WordsFor(poolPages)), poolPages);
        if (left is null)
            _journal?.Begin(new JournalSize(_slotCount, _maxIndirectSegments));
        _slots = _journal is null ? _arena.Take<RequestSlot>(_slotCount) : _journal.Slots;
        _copies = _arena.Take<GrantCopySegment>(segments);
        _listCopies = _arena.Take<GrantCopySegment>(lists);
        _maps = _arena.Take<GrantMapping>(maps);
        _scratch = _arena.Take<byte>(scratchBytes);
        if (persistent > 0)
            _persistent = new PersistentGrants(_arena, persistent, ranges);
        _reaped = _arena.Take<DiskCompletion>(ReapBatch);
        _free = _arena.Take<ushort>(_slotCount);
        _copying = _arena.Take<ushort>(_slotCount);
        _mapping = _arena.Take<ushort>(_slotCount);
        _describing = _arena.Take<ushort>(_slotCount);
        _answered = _arena.Take<ushort>(_slotCount);
        _postponed = _arena.Take<ushort>(_slotCount);
        _awaitingPages =
            _awaitingGrants =
            _awaitingBlocks =
            _awaitingCopy =
            _flushing =
            _flushesWanted =
                new SlotList(_slots);
        _left = _arena.Take<ushort>(_slotCount);
        for (int i = _slotCount; i-- > 0; )
            if (left is null || !IsLeft(ref _slots[i]))
                _free[_freeCount++] = (ushort)i;
    }

    private static bool MovesData
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => TGrants.MovesData && TDisk.MovesData;
    }

    public override int InFlight => _slotCount - _freeCount;
    public override bool IsBroken => _broken;
    public override bool IsAttached => _attached;

    public override void AttachRing() => (_attached, _armed) = (true, false);

    public override void DetachRing() => _attached = false;

    public override TurnResult Turn(bool overlaps = false)
    {
        if (_awaitingCopy.Count > 0)
            RestartCopies();
        ReapDisk();
        RestartPostponed();
        RestartWaiting();
        if (MayBeginLeft)
            BeginLeft();
        TakeRequests(overlaps);
        CopyLists();
        MapGrants();
        CopyGrants();
        StartFlushes();
        ReleaseBarrier();
        if (_answeredCount > 0)
            PushResponses();

        if (HasRequests || CanRestart || _awaitingCopy.Count > 0 || MayBeginLeft)
            return TurnResult.More;
        return _postponedCount > 0 || _awaitingBlocks.Count > 0 || IsHeldBack ? TurnResult.Retry : TurnResult.Idle;
    }

    /// <summary>
    /// B3: the producer index is read once; each request is copied once, and the consumer moves on before it is
    /// processed.
    /// </summary>
    private void TakeRequests(bool overlaps)
    {
        if (!_attached || _broken)
            return;

        _heldBack = false;
        uint producer = _ring.LoadRequestProducer();
        uint posted = producer - _ring.ReqCons;
        // B4: a frontend has at most a ring of requests outstanding, those we still owe a response included. One
        // comparison covers a producer too far ahead and one that went backwards.
        if (posted > _ring.EntryCount - (_ring.ReqCons - _ring.RspProdPvt))
        {
            _broken = true;
            Faults.ReportBrokenRing(producer, _ring.ReqCons, _passStarted);
            return;
        }
        if (posted == 0)
            return;

        // One clock reading serves all requests of the pass, and an idle look at the ring costs none.
        _passStarted = _throttle is null ? ReadClock() : Stopwatch.GetTimestamp();
        _capacity = _disk.CapacitySectors;
        _armed = false;
        uint first = _ring.ReqCons,
            last = first + (overlaps ? OverlapOf(posted) : posted);
        int segments = 0;
        // B2: without a free slot the rest waits on the ring; HasRequests remembers it. So it does behind a barrier.
        while (
            _ring.ReqCons != last && _freeCount > 0 && _barrier == NoSlot && segments < MaxSegmentsPerPass && MayTake()
        )
        {
            int index = _free[--_freeCount];
            ref RequestSlot slot = ref _slots[index];
            _ring.CopyRequest(_ring.ReqCons, ref slot.Request);
            RecordTaken(ref slot);
            _ring.ReqCons++;
            segments += slot.Request.NrSegments;
            Begin(index, ref slot);
        }
        Statistics.PassesField++;
        Statistics.BatchSize.Record(_ring.ReqCons - first);
        Statistics.QueueDepth.Record(InFlight);
    }

    /// <summary>The request is in its slot: it goes its way.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Begin(int index, ref RequestSlot slot)
    {
        slot.TakenAt = _passStarted;
        slot.Retries = 0;
        slot.Invalid = false;
        Dispatch(index, ref slot);
    }

    /// <summary>
    /// One call for all segments of the pass (B16), lists of segments apart; then each request goes its way by the
    /// status of its own segments.
    /// </summary>
    private void CopyGrants()
    {
        if (_copyingCount == 0)
            return;
        // A write without segments has nothing to copy: alone it must cost no call.
        if (_copyCount > 0)
            CallCopy(_copies, _copyCount);

        int segment = 0,
            requests = _copyingCount;
        _copyCount = _copyingCount = 0;
        for (int i = 0; i < requests; i++)
        {
            int index = _copying[i];
            ref RequestSlot slot = ref _slots[index];
            short status = GrantTable.GntstOkay;
            for (int end = segment + slot.Request.NrSegments; segment < end; segment++)
                if (_copies[segment].Status != GrantTable.GntstOkay)
                    status = _copies[segment].Status;
            FinishFetch(index, ref slot, status, FaultKind.GrantCopy);
        }
    }

    private void CallCopy(GrantCopySegment* segments, int count)
    {
        _grants.Copy(segments, count);
        Statistics.GrantCopyCallsField++;
        Statistics.GrantCopySegmentsField += count;
    }

    /// <summary>B14: pushed once for the pass; notified only when the frontend's rsp_event asks for it.</summary>
    private void PushResponses()
    {
        long now = ReadClock();
        AccountAnswered(now);
        if (_holding > 0)
            ReleaseAnswered(now);
        // All at once: what is left in an answered slot is set anew when it is taken.
        Unsafe.CopyBlockUnaligned(_free + _freeCount, _answered, (uint)_answeredCount * sizeof(ushort));
        _freeCount += _answeredCount;
        int answered = _answeredCount;
        _answeredCount = 0;

        Statistics.PushesField++;
        bool notify = _ring.PushResponses();
        RecordPushed(answered);
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
        for (int i = 0; i < _answeredCount; )
        {
            ref RequestSlot first = ref _slots[_answered[i++]];
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
            for (; i < _answeredCount; i++)
            {
                ref RequestSlot next = ref _slots[_answered[i]];
                if (next.Kind != first.Kind || next.TakenAt != first.TakenAt || next.Status != Blkif.RspOkay)
                    break;
                bytes += next.AnsweredBytes;
            }
            kind.OperationsField += i - start;
            kind.BytesField += bytes;
            kind.LatencyNs.Record(TicksToNs(now - first.TakenAt), i - start);
        }
    }

    // The null disk takes no time, and the clock costs as much as five requests on it: what is left unmeasured there is
    // shown as 0.
    private static long ReadClock() => TDisk.MovesData ? Stopwatch.GetTimestamp() : 0;

    // Stopwatch ticks are nanoseconds on Linux; the general form costs a division per request.
    private static long TicksToNs(long ticks) =>
        Stopwatch.Frequency == 1_000_000_000 ? ticks : ticks * 1_000_000_000 / Stopwatch.Frequency;

    /// <summary>
    /// B15: whether unconsumed requests exist that can be taken now. An index that cannot be true counts: the next pass
    /// refuses it.
    /// </summary>
    public override bool HasRequests =>
        _attached && !_broken && CanTake && _ring.LoadRequestProducer() != _ring.ReqCons;

    public override bool HasUnanswered =>
        InFlight > 0 || (_attached && !_broken && _ring.LoadRequestProducer() != _ring.ReqCons);

    /// <remarks>
    /// B15. Apart from the pass, because it writes to the line that the frontend polls, fences, and asks for an event:
    /// a thread that turns the queue again anyway need not pay that (measured: a twentieth of the ring alone).
    /// </remarks>
    public override bool FinalCheckForRequests()
    {
        // Nothing can be taken before a completion, which will wake us anyway: an event would only wake us in vain.
        if (_armed || !_attached || _broken || !CanTake)
            return false;
        bool more = _ring.FinalCheckForRequests();
        _armed = !more;
        return more;
    }

    public override void NotifyFrontend() => _events.Notify();

    private bool CanTake => _freeCount > 0 && _barrier == NoSlot && !_heldBack;

    private void ReapDisk()
    {
        int count;
        do
        {
            count = _io.Reap(new Span<DiskCompletion>(_reaped, ReapBatch));
            for (int i = 0; i < count; i++)
                Complete(_reaped[i].Tag, _reaped[i].Result);
        } while (count == ReapBatch);
    }

    private void RestartPostponed()
    {
        if (_postponedCount == 0)
            return;
        // A guest that keeps the queue turning must not use up the retries of the requests that wait.
        long now = Stopwatch.GetTimestamp();
        if (now - _postponedAt < _retryDelayTicks)
            return;
        _postponedAt = now;
        int count = _postponedCount;
        _postponedCount = 0;
        for (int i = 0; i < count; i++)
        {
            int index = _postponed[i];
            Start(index, ref _slots[index]);
        }
    }

    internal override uint TakeCompletions(IoUring ring, uint head, uint tail)
    {
        for (; head != tail; head++)
        {
            io_uring_cqe* cqe = ring.CompletionAt(head);
            if ((cqe->user_data ^ _tagBase) >> 48 != 0)
                break;
            if ((ushort)(cqe->user_data >> 32) == EventSlot)
            {
                _events.CompleteWait(cqe->res);
                EventWaitCompleted = _eventTaken = true;
            }
            else
            {
                Complete(cqe->user_data, cqe->res);
            }
        }
        return head;
    }

    internal override void AttachDisk(ushort queueIndex, IoUring? ring, Action? wake = null)
    {
        _tagBase = (ulong)queueIndex << 48;
        // Mapped pages come and go: there is nothing to register.
        bool copies = _mode == GrantMode.Copy;
        _io.Attach(
            new DiskAttachment
            {
                Ring = ring,
                Buffers = copies ? _buffers : null,
                BuffersLengthBytes = copies ? _buffersLengthBytes : 0,
                MaxDiscards = _slotCount * DiscardWindow,
                Wake = wake,
            }
        );
    }

    internal override void DetachDisk()
    {
        ReleaseAllGrants();
        _io.Detach();
    }

    internal override int EventDescriptor => _events.Descriptor;

    internal override void PrepareEventWait(io_uring_sqe* sqe)
    {
        _events.PrepareWait(sqe);
        sqe->user_data = _tagBase | ((ulong)EventSlot << 32);
    }

    internal override void ConsumeEvent()
    {
        _events.Consume();
        _eventTaken = true;
    }

    internal override void UnmaskEvents()
    {
        // Armed: the final check is in force, so the frontend will notify the next request.
        if (!_eventTaken || !_armed || !_attached || _broken)
            return;
        _eventTaken = false;
        _events.Unmask();
    }

    protected override void Dispose(bool disposing)
    {
        if (!disposing)
            return;
        _arena.Dispose();
        if (InFlight == 0)
            _journal?.End();
        _journal?.Dispose();
    }
}
