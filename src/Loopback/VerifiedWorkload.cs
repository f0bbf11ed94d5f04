using System.Diagnostics;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Telemetry;

namespace Blkring.Loopback;

/// <summary>
/// A mixed workload that knows what every sector should hold: reads, writes, flushes with and without data, barriers
/// and discards, of whole pages and parts of pages, with 1 to 11 segments, or more in INDIRECT requests if the frontend
/// has the pages for them. Of two requests in flight on the same 4 KiB (or <see cref="WorkloadOptions.BlockSectors"/>),
/// neither changes it.
/// </summary>
/// <remarks>
/// Nothing is allocated after the constructor, so that collections during a run are caused by the backend.
/// </remarks>
public sealed unsafe class VerifiedWorkload
{
    private const byte BusyWriting = byte.MaxValue;
    private const int MaxDiscardSectors = 2048;

    private readonly Frontend _frontend;
    private readonly WorkloadOptions _options;
    private readonly SectorModel _model;
    private readonly Pending[] _pending;
    private readonly int[] _idle;
    private readonly byte[] _busy;
    private int _idleCount;
    private uint _sequence;
    private WorkloadRandom _random;
    private bool _discard;
    private WorkloadResult _result = new();

    private struct Pending
    {
        public Blkif.DecodedRequest Request;
        public long PostedAt;

        /// <summary>BLKIF_OP_*; for an INDIRECT request, its indirect_op, which the response repeats.</summary>
        public byte Operation;
        public int Sectors;
        public bool Active;
    }

    public VerifiedWorkload(Frontend frontend, WorkloadOptions options)
    {
        (_frontend, _options, _model) = (frontend, options, options.Model);
        _pending = new Pending[frontend.EntryCount];
        _idle = new int[frontend.EntryCount];
        _busy = new byte[(options.Sectors / options.BlockSectors) + 1];
        _random = new WorkloadRandom(options.Seed);
        _discard = options.Discard;
        for (int i = frontend.EntryCount; i-- > 0; )
            _idle[_idleCount++] = i;
    }

    /// <summary>The requests answered so far, in all phases, for a progress line. From any thread.</summary>
    public long Completed { get; private set; }

    private int InFlight => _frontend.EntryCount - _idleCount;

    /// <summary>Keeps <paramref name="depth"/> requests in flight for a time, then waits for them.</summary>
    public WorkloadResult Run(int depth, TimeSpan duration)
    {
        WorkloadResult result = _result = new WorkloadResult();
        depth = Math.Clamp(depth, 1, _frontend.EntryCount);
        long start = Stopwatch.GetTimestamp();
        long end = start + (long)(duration.TotalSeconds * Stopwatch.Frequency);
        while (result.FirstProblem is null && Stopwatch.GetTimestamp() < end)
        {
            for (int tries = 0; InFlight < depth && tries < 2 * depth; tries++)
                PostRandom();
            _frontend.Push();
            TakeResponses();
        }
        Drain();
        result.Seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return result;
    }

    /// <summary>Reads every sector that the workload has touched, and compares it.</summary>
    public WorkloadResult Sweep()
    {
        WorkloadResult result = _result = new WorkloadResult();
        long start = Stopwatch.GetTimestamp();
        long end = _options.FirstSector + _options.Sectors;
        for (long sector = _options.FirstSector; sector < end && result.FirstProblem is null; )
        {
            int count = (int)Math.Min(Blkif.MaxSegmentsPerRequest * RequestValidator.SectorsPerPage, end - sector);
            if (AnyTouched(sector, count))
            {
                while (_idleCount == 0 && result.FirstProblem is null)
                {
                    _frontend.Push();
                    TakeResponses();
                }
                if (result.FirstProblem is null)
                    PostWholePages(Blkif.OpRead, sector, count);
            }
            sector += count;
        }
        Drain();
        result.Seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return result;
    }

    private bool AnyTouched(long sector, int count)
    {
        for (long end = sector + count; sector < end; sector++)
            if (_model.IsTouched(sector))
                return true;
        return false;
    }

    private void Drain()
    {
        _frontend.Push();
        while (InFlight > 0 && _result.FirstProblem is null)
            TakeResponses();
    }

    /// <summary>
    /// Takes the responses. If there are none, waits as a frontend does: the final check, then a sleep until the event.
    /// </summary>
    private void TakeResponses()
    {
        Blkif.DecodedResponse response = default;
        bool any = false;
        while (_frontend.TryTake(ref response))
        {
            any = true;
            Complete(in response);
        }
        if (any || InFlight == 0 || _frontend.FinalCheckForResponses())
            return;
        if (!_frontend.WaitForEvent(_options.SilenceMs))
            Problem(
                $"the backend sent no response for {_options.SilenceMs / 1000} s with {InFlight} requests in flight"
            );
    }

    private void Complete(in Blkif.DecodedResponse response)
    {
        int slot = (int)(response.Id & 0xffff);
        if (slot >= _pending.Length || !_pending[slot].Active || _pending[slot].Request.Id != response.Id)
        {
            Problem($"a response to request id {response.Id:x}, which is not outstanding");
            return;
        }
        ref Pending pending = ref _pending[slot];
        pending.Active = false;
        _result.LatencyNs.Record((long)Stopwatch.GetElapsedTime(pending.PostedAt).TotalNanoseconds);
        _idle[_idleCount++] = slot;
        Completed++;
        SetBusy(in pending, 0);

        if (response.Operation != pending.Operation)
            Problem(
                $"a response with {XenNames.Operation(response.Operation)} to {XenNames.Operation(pending.Operation)}"
            );
        else if (response.Status == Blkif.RspEopnotsupp && pending.Operation == Blkif.OpDiscard)
            NoteNoDiscard(in pending);
        else if (response.Status != Blkif.RspOkay)
            NoteError(in pending, response.Status);
        else
            Verify(slot, in pending);
    }

    /// <summary>
    /// Not an error: whether a store can discard shows only at the first discard, and those in flight fail with it.
    /// </summary>
    private void NoteNoDiscard(in Pending pending)
    {
        _discard = false;
        _model.Forget((long)pending.Request.SectorNumber, pending.Sectors);
    }

    private void NoteError(in Pending pending, short status)
    {
        _result.Errors++;
        if (pending.Operation != Blkif.OpRead)
            _model.Forget((long)pending.Request.SectorNumber, pending.Sectors);
        Problem(
            $"{XenNames.ResponseStatus(status)} for {XenNames.Operation(pending.Operation)} at sector "
                + $"{pending.Request.SectorNumber}, {pending.Sectors} sectors"
        );
    }

    private void Verify(int slot, in Pending pending)
    {
        _result.Verified++;
        if (pending.Request.Operation == Blkif.OpIndirect)
            _result.Indirect++;
        switch ((int)pending.Operation)
        {
            case Blkif.OpRead:
                _result.Reads++;
                _result.Bytes += (long)pending.Sectors * Disk.SectorBytes;
                Compare(slot, in pending);
                break;
            case Blkif.OpWrite:
                _result.Writes++;
                _result.Bytes += (long)pending.Sectors * Disk.SectorBytes;
                break;
            case Blkif.OpDiscard:
                _result.Discards++;
                break;
            default:
                _result.Flushes++;
                _result.Bytes += (long)pending.Sectors * Disk.SectorBytes;
                break;
        }
    }

    private void Compare(int slot, in Pending pending)
    {
        long sector = (long)pending.Request.SectorNumber;
        for (int i = 0; i < pending.Request.NrSegments; i++)
        {
            byte* buffer = _frontend.BufferOf(slot, i);
            Blkif.RequestSegment segment = SegmentOf(slot, i);
            for (int s = segment.FirstSect; s <= segment.LastSect; s++, sector++)
            {
                if (_model.IsRight(sector, buffer + (s * Disk.SectorBytes)))
                    continue;
                _result.WrongSectors++;
                Problem($"sector {sector} does not hold what was written to it last");
            }
        }
    }

    private void PostRandom()
    {
        if (_options.ReadOnly || _options.LongRequests)
        {
            PostTransfer(_options.ReadOnly || Next() % 2 == 0 ? Blkif.OpRead : Blkif.OpWrite);
            return;
        }
        switch (Next() % 100)
        {
            case < 46:
                PostTransfer(Blkif.OpRead);
                break;
            case < 92:
                PostTransfer(Blkif.OpWrite);
                break;
            case < 94:
                PostFlush();
                break;
            case < 95:
                PostTransfer(Blkif.OpFlushDiskcache);
                break;
            case < 96:
                PostTransfer(_options.Barrier ? Blkif.OpWriteBarrier : Blkif.OpFlushDiskcache);
                break;
            default:
                if (_discard)
                    PostDiscard();
                break;
        }
    }

    private void PostTransfer(int operation)
    {
        int slot = _idle[_idleCount - 1];
        ref Pending pending = ref _pending[slot];
        ref Blkif.DecodedRequest request = ref Prepare(slot, operation);

        // One third each: one page, whole pages, parts of pages.
        uint shape = _options.LongRequests ? 1 : Next() % 3;
        int segments =
            _options.LongRequests ? _frontend.SegmentsPerRequest
            : shape == 0 ? 1
            : 1 + (int)(Next() % (uint)MostSegments(operation));
        if (segments > Blkif.MaxSegmentsPerRequest)
            _frontend.MakeIndirect(ref request, slot, operation, segments);
        request.NrSegments = (ushort)segments;
        int sectors = 0;
        for (int i = 0; i < segments; i++)
        {
            byte first = shape == 2 ? (byte)(Next() % RequestValidator.SectorsPerPage) : (byte)0;
            byte last =
                shape == 2
                    ? (byte)(first + (Next() % (uint)(RequestValidator.SectorsPerPage - first)))
                    : (byte)(RequestValidator.SectorsPerPage - 1);
            SetSegment(slot, i, first, last);
            sectors += last - first + 1;
        }
        if (!TryPlace(ref pending, sectors))
            return;
        if (operation != Blkif.OpRead)
            FillSegments(slot, in pending);
        Post(slot);
    }

    /// <summary>
    /// One in four reads and writes may be as long as the frontend can make it, which can be more than a direct request
    /// holds.
    /// </summary>
    private int MostSegments(int operation) =>
        operation is Blkif.OpRead or Blkif.OpWrite && Next() % 4 == 0
            ? _frontend.SegmentsPerRequest
            : Blkif.MaxSegmentsPerRequest;

    private void PostWholePages(int operation, long sector, int sectors)
    {
        int slot = _idle[_idleCount - 1];
        ref Blkif.DecodedRequest request = ref Prepare(slot, operation);
        int segments = 0;
        for (int left = sectors; left > 0; left -= RequestValidator.SectorsPerPage)
            SetSegment(slot, segments++, 0, (byte)(Math.Min(left, RequestValidator.SectorsPerPage) - 1));
        request.NrSegments = (ushort)segments;
        request.SectorNumber = (ulong)sector;
        _pending[slot].Sectors = sectors;
        Post(slot);
    }

    private void PostFlush()
    {
        int slot = _idle[_idleCount - 1];
        Prepare(slot, Blkif.OpFlushDiskcache);
        _pending[slot].Sectors = 0;
        Post(slot);
    }

    private void PostDiscard()
    {
        int slot = _idle[_idleCount - 1];
        ref Pending pending = ref _pending[slot];
        ref Blkif.DecodedRequest request = ref Prepare(slot, Blkif.OpDiscard);
        int sectors = 1 + (int)(Next() % (uint)Math.Min(MaxDiscardSectors, _options.Sectors));
        if (!TryPlace(ref pending, sectors))
            return;
        request.NrSectors = (ulong)sectors;
        _model.Discard((long)request.SectorNumber, sectors, _options.DiscardZeroes);
        Post(slot);
    }

    private ref Blkif.DecodedRequest Prepare(int slot, int operation)
    {
        ref Pending pending = ref _pending[slot];
        pending.Request = default;
        pending.Request.Operation = pending.Operation = (byte)operation;
        pending.Request.Id = ((ulong)++_sequence << 16) | (uint)slot;
        return ref pending.Request;
    }

    private ref Blkif.RequestSegment SegmentOf(int slot, int index)
    {
        ref Blkif.DecodedRequest request = ref _pending[slot].Request;
        return ref request.Operation == Blkif.OpIndirect
            ? ref _frontend.SegmentListOf(slot)[index]
            : ref request.Seg[index];
    }

    private void SetSegment(int slot, int index, byte first, byte last)
    {
        ref Blkif.RequestSegment segment = ref SegmentOf(slot, index);
        segment.Gref = _frontend.GrantOf(slot, index, readOnly: _pending[slot].Operation != Blkif.OpRead).Value;
        segment.FirstSect = first;
        segment.LastSect = last;
    }

    private void FillSegments(int slot, in Pending pending)
    {
        long sector = (long)pending.Request.SectorNumber;
        for (int i = 0; i < pending.Request.NrSegments; i++)
        {
            byte* buffer = _frontend.BufferOf(slot, i);
            Blkif.RequestSegment segment = SegmentOf(slot, i);
            for (int s = segment.FirstSect; s <= segment.LastSect; s++, sector++)
                _model.Write(sector, buffer + (s * Disk.SectorBytes));
        }
    }

    /// <summary>
    /// Looks for a place that is in conflict with no request in flight, at random, a few times.
    /// </summary>
    private bool TryPlace(ref Pending pending, int sectors)
    {
        if (sectors > _options.Sectors)
            return false;
        pending.Sectors = sectors;
        for (int attempt = 0; attempt < 4; attempt++)
        {
            pending.Request.SectorNumber =
                (ulong)_options.FirstSector + (_random.Next() % (ulong)(_options.Sectors - sectors + 1));
            if (!Conflicts(in pending))
                return true;
        }
        return false;
    }

    private bool Conflicts(in Pending pending)
    {
        (long first, long last) = BlocksOf(in pending);
        bool reads = pending.Operation == Blkif.OpRead;
        for (long block = first; block <= last; block++)
        {
            byte busy = _busy[block];
            if (reads ? busy >= BusyWriting - 1 : busy != 0)
                return true;
        }
        return false;
    }

    /// <summary>Marks the request's blocks as busy, or no longer busy.</summary>
    /// <param name="posted">1 when the request is sent, 0 when it is answered.</param>
    private void SetBusy(in Pending pending, int posted)
    {
        if (pending.Sectors == 0)
            return;
        (long first, long last) = BlocksOf(in pending);
        bool reads = pending.Operation == Blkif.OpRead;
        for (long block = first; block <= last; block++)
        {
            if (!reads)
                _busy[block] = posted != 0 ? BusyWriting : (byte)0;
            else if (posted != 0)
                _busy[block]++;
            else
                _busy[block]--;
        }
    }

    private (long First, long Last) BlocksOf(in Pending pending) =>
        (
            ((long)pending.Request.SectorNumber - _options.FirstSector) / _options.BlockSectors,
            ((long)pending.Request.SectorNumber - _options.FirstSector + pending.Sectors - 1) / _options.BlockSectors
        );

    private void Post(int slot)
    {
        ref Pending pending = ref _pending[slot];
        _idleCount--;
        pending.Active = true;
        pending.PostedAt = Stopwatch.GetTimestamp();
        SetBusy(in pending, 1);
        _frontend.Put(in pending.Request);
    }

    private void Problem(string what) => _result.FirstProblem ??= what;

    private uint Next() => (uint)(_random.Next() >> 32);
}
