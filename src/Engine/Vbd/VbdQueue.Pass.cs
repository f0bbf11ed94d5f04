using System.Diagnostics;
using System.Runtime.CompilerServices;
using Blkring.Abi;
using Blkring.Interop;

namespace Blkring.Engine;

/// <summary>The data plane of one ring. This file is the pass; the way of a single request is in VbdQueue.Request.cs.</summary>
/// <remarks>
/// <code>
/// completions ─► finish disk I/O ─┐
/// ring ─► copy ─► validate ───────┴─► one grant copy ─► disk, responses ─► one push ─► notify if asked ─► more?
/// </code>
/// Nothing here allocates, throws on a guest's doing, or calls through an interface for a request.
/// </remarks>
public sealed unsafe partial class VbdQueue<TAbi, TGrants, TEvents, TDisk> : VbdQueue
    where TAbi : struct, Blkif.IRing
    where TGrants : struct, IGrants
    where TEvents : struct, IEventChannel
    where TDisk : struct, IDiskIo
{
    private const int BufferBytesPerSlot = Blkif.MaxSegmentsPerRequest * Arena.PageBytes;
    private const int ReapBatch = 64;

    // Structs with state: not readonly, or every call would work on a copy.
    private Blkif.BackRing<TAbi> _ring;
    private TGrants _grants;
    private TEvents _events;
    private TDisk _io;

    private readonly Disk _disk;
    private readonly bool _readOnly;
    private readonly ushort _frontend;

    // The arena and what is cut from it. Raw pointers are used while this object, which owns the arena, is alive.
    private readonly Arena _arena;
    private readonly RequestSlot* _slots;
    private readonly byte* _buffers;
    private readonly GrantCopySegment* _copies;
    private readonly ushort* _free, _copying, _answered, _postponed;
    private readonly DiskCompletion* _reaped;
    private readonly int _slotCount;
    private int _freeCount, _copyingCount, _copyCount, _answeredCount, _postponedCount;

    private int _barrier = NoSlot;
    private bool _attached, _broken, _armed;
    private ulong _tagBase;
    private readonly long _retryDelayTicks;
    private long _capacity, _passStarted, _postponedAt;

    private const int NoSlot = -1;

    /// <param name="sring">The ring pages, contiguous and mapped read-write for as long as the queue lives.</param>
    public VbdQueue(byte* sring, VbdQueueOptions options, Disk disk, TGrants grants, TEvents events, TDisk io)
    {
        _ring = Blkif.BackRing<TAbi>.Attach(sring, options.RingPages, options.RingIndex);
        (_disk, _grants, _events, _io) = (disk, grants, events, io);
        _readOnly = options.ReadOnly || disk.ReadOnly;
        _frontend = options.Frontend.Value;
        _retryDelayTicks = (long)(options.RetryDelay.TotalSeconds * Stopwatch.Frequency);
        _slotCount = Math.Clamp(options.MaxInFlight ?? int.MaxValue, 1, (int)_ring.EntryCount);

        int copies = _slotCount * Blkif.MaxSegmentsPerRequest;
        _arena = new Arena(
            Arena.SizeOf<byte>(_slotCount * BufferBytesPerSlot, Arena.PageBytes) + Arena.SizeOf<RequestSlot>(_slotCount) +
            Arena.SizeOf<GrantCopySegment>(copies) + Arena.SizeOf<DiskCompletion>(ReapBatch) + (4 * Arena.SizeOf<ushort>(_slotCount)));
        _buffers = _arena.Take<byte>(_slotCount * BufferBytesPerSlot, Arena.PageBytes);
        _slots = _arena.Take<RequestSlot>(_slotCount);
        _copies = _arena.Take<GrantCopySegment>(copies);
        _reaped = _arena.Take<DiskCompletion>(ReapBatch);
        _free = _arena.Take<ushort>(_slotCount);
        _copying = _arena.Take<ushort>(_slotCount);
        _answered = _arena.Take<ushort>(_slotCount);
        _postponed = _arena.Take<ushort>(_slotCount);
        for (int i = _slotCount; i-- > 0;) _free[_freeCount++] = (ushort)i;
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

    public override TurnResult Turn()
    {
        ReapDisk();
        RestartPostponed();
        TakeRequests();
        CopyGrants();
        ReleaseBarrier();
        if (_answeredCount > 0) PushResponses();

        if (HasMore) return TurnResult.More;
        return _postponedCount > 0 ? TurnResult.Retry : TurnResult.Idle;
    }

    /// <summary>B3: the producer index is read once; each request is copied once, and the consumer moves on before it is processed.</summary>
    private void TakeRequests()
    {
        if (!_attached || _broken) return;

        uint producer = _ring.LoadRequestProducer();
        uint posted = producer - _ring.ReqCons;
        // B4: a frontend has at most a ring of requests outstanding, those we still owe a response included. One comparison covers a
        // producer too far ahead and one that went backwards.
        if (posted > _ring.EntryCount - (_ring.ReqCons - _ring.RspProdPvt))
        {
            _broken = true;
            Faults.Report(FaultKind.BrokenRing, 0, 0, producer, _passStarted);
            return;
        }
        if (posted == 0) return;

        // One clock reading serves all requests of the pass, and an idle look at the ring costs none.
        _passStarted = ReadClock();
        _capacity = _disk.CapacitySectors;
        _armed = false;
        uint first = _ring.ReqCons;
        // B2: without a free slot the rest waits on the ring; HasMore remembers it. So it does behind a barrier.
        while (_ring.ReqCons != producer && _freeCount > 0 && _barrier == NoSlot)
        {
            int index = _free[--_freeCount];
            ref RequestSlot slot = ref _slots[index];
            _ring.CopyRequest(_ring.ReqCons, ref slot.Request);
            _ring.ReqCons++;
            slot.TakenAt = _passStarted;
            slot.Retries = 0;
            slot.Invalid = false;
            Dispatch(index, ref slot);
        }
        Statistics.PassesField++;
        Statistics.BatchSize.Record(_ring.ReqCons - first);
        Statistics.QueueDepth.Record(InFlight);
    }

    /// <summary>One call for all segments of the pass (B16); then each request goes its way by the status of its own segments.</summary>
    private void CopyGrants()
    {
        if (_copyingCount == 0) return;
        // A write without segments has nothing to copy: alone it must cost no call.
        if (_copyCount > 0)
        {
            _grants.Copy(_copies, _copyCount);
            Statistics.GrantCopyCallsField++;
            Statistics.GrantCopySegmentsField += _copyCount;
        }

        int segment = 0, requests = _copyingCount;
        _copyCount = _copyingCount = 0;
        for (int i = 0; i < requests; i++)
        {
            int index = _copying[i];
            ref RequestSlot slot = ref _slots[index];
            short status = GrantTable.GntstOkay;
            for (int end = segment + slot.Request.NrSegments; segment < end; segment++)
                if (_copies[segment].Status != GrantTable.GntstOkay) status = _copies[segment].Status;
            FinishCopy(index, ref slot, status);
        }
    }

    /// <summary>B14: pushed once for the pass; notified only when the frontend's rsp_event asks for it.</summary>
    private void PushResponses()
    {
        AccountAnswered(ReadClock());
        // All at once: what is left in an answered slot is set anew when it is taken.
        Unsafe.CopyBlockUnaligned(_free + _freeCount, _answered, (uint)_answeredCount * sizeof(ushort));
        _freeCount += _answeredCount;
        _answeredCount = 0;

        Statistics.PushesField++;
        if (_ring.PushResponses())
        {
            Statistics.NotificationsField++;
            _events.Notify();
        }
    }

    /// <summary>
    /// B21. Requests of one kind that were taken together and succeeded are counted together: in most passes that is all of them, and
    /// counting them one by one cost a fifth of the pass on the null disk.
    /// </summary>
    private void AccountAnswered(long now)
    {
        for (int i = 0; i < _answeredCount;)
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
                if (next.Kind != first.Kind || next.TakenAt != first.TakenAt || next.Status != Blkif.RspOkay) break;
                bytes += next.AnsweredBytes;
            }
            kind.OperationsField += i - start;
            kind.BytesField += bytes;
            kind.LatencyNs.Record(TicksToNs(now - first.TakenAt), i - start);
        }
    }

    // The null disk takes no time, and the clock costs as much as five requests on it: what is left unmeasured there is shown as 0.
    private static long ReadClock() => TDisk.MovesData ? Stopwatch.GetTimestamp() : 0;

    // Stopwatch ticks are nanoseconds on Linux; the general form costs a division per request.
    private static long TicksToNs(long ticks) => Stopwatch.Frequency == 1_000_000_000 ? ticks : ticks * 1_000_000_000 / Stopwatch.Frequency;

    /// <summary>B15: whether unconsumed requests exist that can be taken now. An index that cannot be true counts: the next pass refuses it.</summary>
    private bool HasMore => _attached && !_broken && CanTake && _ring.LoadRequestProducer() != _ring.ReqCons;

    /// <remarks>
    /// B15. Apart from the pass, because it writes to the line that the frontend polls, fences, and asks for an event: a thread that turns
    /// the queue again anyway need not pay that (measured: a twentieth of the ring alone).
    /// </remarks>
    public override bool FinalCheckForRequests()
    {
        // Nothing can be taken before a completion, which will wake us anyway: an event would only wake us in vain.
        if (_armed || !_attached || _broken || !CanTake) return false;
        bool more = _ring.FinalCheckForRequests();
        _armed = !more;
        return more;
    }

    private bool CanTake => _freeCount > 0 && _barrier == NoSlot;

    private void ReapDisk()
    {
        int count;
        do
        {
            count = _io.Reap(new Span<DiskCompletion>(_reaped, ReapBatch));
            for (int i = 0; i < count; i++) Complete(_reaped[i].Tag, _reaped[i].Result);
        }
        while (count == ReapBatch);
    }

    private void RestartPostponed()
    {
        if (_postponedCount == 0) return;
        // A guest that keeps the queue turning must not use up the retries of the requests that wait.
        long now = Stopwatch.GetTimestamp();
        if (now - _postponedAt < _retryDelayTicks) return;
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
            if ((cqe->user_data ^ _tagBase) >> 48 != 0) break;
            if ((ushort)(cqe->user_data >> 32) == EventSlot)
            {
                _events.CompleteWait(cqe->res);
                EventWaitCompleted = true;
            }
            else
            {
                Complete(cqe->user_data, cqe->res);
            }
        }
        return head;
    }

    internal override void AttachDisk(ushort queueIndex, IoUring? ring)
    {
        _tagBase = (ulong)queueIndex << 48;
        _io.Attach(new DiskAttachment { Ring = ring, Buffers = _buffers, BuffersLengthBytes = (nuint)_slotCount * BufferBytesPerSlot });
    }

    internal override void DetachDisk() => _io.Detach();

    internal override int EventDescriptor => _events.Descriptor;

    internal override void PrepareEventWait(io_uring_sqe* sqe)
    {
        _events.PrepareWait(sqe);
        sqe->user_data = _tagBase | ((ulong)EventSlot << 32);
    }

    internal override void ConsumeEvent() => _events.Consume();

    protected override void Dispose(bool disposing)
    {
        if (disposing) _arena.Dispose();
    }
}
