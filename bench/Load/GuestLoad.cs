using System.Diagnostics;
using Blkring.Abi;
using Blkring.Engine.Queues;
using Blkring.Engine.Telemetry;
using Blkring.Loopback;

namespace Blkring.Load;

internal sealed record GuestLoadOptions
{
    public bool Write { get; init; }

    /// <summary>The number of requests in flight.</summary>
    public int Depth { get; init; } = 32;

    /// <summary>The number of pages per request; more than 11 make it INDIRECT.</summary>
    public int Pages { get; init; } = 1;

    /// <summary>Every request of this number is a flush; 0 sends none.</summary>
    public uint FlushEvery { get; init; }

    /// <summary>
    /// Whether it polls for responses without ever sleeping, so that its own wake-ups are not measured.
    /// </summary>
    public bool Polls { get; init; }
    public ulong Seed { get; init; } = 1;
}

/// <summary>
/// A guest that reads or writes random whole pages with a constant number of requests in flight. Of the responses it
/// checks only the status.
/// </summary>
internal sealed unsafe class GuestLoad
{
    private readonly Frontend _frontend;
    private readonly GuestLoadOptions _options;
    private readonly ulong _places;
    private readonly Blkif.DecodedRequest[] _requests;
    private readonly long[] _postedAt;
    private readonly int[] _idle;
    private WorkloadRandom _random;
    private uint _posted;
    private volatile bool _stopping;

    public GuestLoad(Frontend frontend, long sectors, GuestLoadOptions options)
    {
        (_frontend, _options, _random) = (frontend, options, new WorkloadRandom(options.Seed));
        int depth = Math.Clamp(options.Depth, 1, frontend.EntryCount);
        _places = (ulong)((sectors / RequestValidator.SectorsPerPage) - options.Pages + 1);
        _postedAt = new long[depth];
        _idle = [.. Enumerable.Range(0, depth)];
        _requests = new Blkif.DecodedRequest[depth];
        for (int slot = 0; slot < depth; slot++)
            Prepare(slot, ref _requests[slot]);
    }

    /// <summary>Makes <see cref="Run"/> end early, after the requests in flight. From any thread.</summary>
    public void Stop() => _stopping = true;

    /// <returns>The number of requests answered.</returns>
    public long Run(double seconds, LatencyHistogram latency)
    {
        Blkif.DecodedResponse response = default;
        int depth = _idle.Length,
            idle = depth;
        long answered = 0;
        long now = Stopwatch.GetTimestamp(),
            end = now + (long)(seconds * Stopwatch.Frequency);
        while (true)
        {
            bool over = now >= end || _stopping;
            if (over && idle == depth)
                return answered;
            while (idle > 0 && !over)
                Post(_idle[--idle], now);
            _frontend.Push();
            while (true)
            {
                bool any = false;
                while (_frontend.TryTake(ref response))
                {
                    if (!any)
                        now = Stopwatch.GetTimestamp();
                    any = true;
                    if (response.Status != Blkif.RspOkay)
                        throw new InvalidOperationException($"request {response.Id}: status {response.Status}");
                    _idle[idle++] = (int)response.Id;
                    latency.Record(now - _postedAt[response.Id]);
                    answered++;
                }
                if (any)
                    break;
                if (_options.Polls)
                    continue;
                if (_frontend.FinalCheckForResponses())
                    continue;
                if (!_frontend.WaitForEvent(10_000))
                    throw new SilentBackendException(depth - idle);
            }
        }
    }

    private void Prepare(int slot, ref Blkif.DecodedRequest request)
    {
        int operation = _options.Write ? Blkif.OpWrite : Blkif.OpRead;
        request.Operation = (byte)operation;
        request.Id = (ulong)slot;
        request.NrSegments = (ushort)_options.Pages;
        bool indirect = _options.Pages > Blkif.MaxSegmentsPerRequest;
        if (indirect)
            _frontend.MakeIndirect(ref request, slot, operation, _options.Pages);
        for (int page = 0; page < _options.Pages; page++)
        {
            // Safe: the list is in the guest's memory, which stays mapped for as long as the domain exists.
            ref Blkif.RequestSegment segment = ref indirect
                ? ref _frontend.SegmentListOf(slot)[page]
                : ref request.Seg[page];
            segment.Gref = _frontend.GrantOf(slot, page, _options.Write).Value;
            segment.FirstSect = 0;
            segment.LastSect = RequestValidator.SectorsPerPage - 1;
        }
    }

    private void Post(int slot, long now)
    {
        ref Blkif.DecodedRequest request = ref _requests[slot];
        request.SectorNumber = (_random.Next() >> 8) % _places * RequestValidator.SectorsPerPage;
        _postedAt[slot] = now;
        _posted++;
        if (_options.FlushEvery > 0 && _posted % _options.FlushEvery == 0)
            _frontend.Put(new Blkif.DecodedRequest { Operation = Blkif.OpFlushDiskcache, Id = (ulong)slot });
        else
            _frontend.Put(in request);
    }
}

/// <summary>The backend has answered nothing for ten seconds.</summary>
/// <param name="unanswered">The number of requests that wait.</param>
internal sealed class SilentBackendException(int unanswered)
    : InvalidOperationException($"the backend stopped answering: {unanswered} requests wait")
{
    public int Unanswered => unanswered;
}
