using Blkring.Abi;
using Blkring.Loopback;

namespace Blkring.Tests.Kit;

/// <summary>How the rings of an allocation run are loaded.</summary>
internal sealed record AllocationLoad
{
    /// <summary>Requests of every kind, and those that fail; otherwise reads, writes and a few flushes.</summary>
    public bool Everything { get; init; }
    public int SectorOffset { get; init; }
    public int Rings { get; init; } = 1;
}

/// <summary>
/// A frontend that keeps the ring full with reads, writes and flushes, long ones too if it can, and allocates
/// nothing itself.
/// </summary>
internal sealed unsafe class AllocationGuest(Frontend frontend, AllocationLoad load)
{
    private readonly Blkif.DecodedRequest[] _requests =
    [
        .. Enumerable.Range(0, frontend.EntryCount).Select(i => Prepare(frontend, i, load)),
    ];
    private int _next,
        _posted,
        _taken,
        _count;

    public bool IsDone => _taken == _count;

    public void Begin(int count) => (_posted, _taken, _count) = (0, 0, count);

    /// <summary>Fills the ring, takes the responses, and returns whether there was anything to do.</summary>
    public bool Move()
    {
        bool any = false;
        for (uint free = frontend.FreeRequests; free > 0 && _posted < _count; free--, _posted++)
        {
            frontend.Put(in _requests[_next]);
            if (++_next == _requests.Length)
                _next = 0;
            any = true;
        }
        if (any)
            frontend.Push();
        Blkif.DecodedResponse response = default;
        while (frontend.TryTake(ref response))
        {
            _taken++;
            any = true;
            if (response.Status != Blkif.RspOkay && !load.Everything)
                throw new InvalidOperationException("a request failed");
        }
        return any;
    }

    public void Sleep()
    {
        if (!frontend.FinalCheckForResponses() && !frontend.WaitForEvent(Wait.LimitMs))
            throw new InvalidOperationException("no answer came");
    }

    private static Blkif.DecodedRequest Prepare(Frontend frontend, int i, AllocationLoad load)
    {
        if (load.Everything && i % 16 is var place && place >= 8)
            return PrepareRare(frontend, i, place);
        int operation =
            i % 64 == 63 ? Blkif.OpFlushDiskcache
            : i % 2 == 0 ? Blkif.OpRead
            : Blkif.OpWrite;
        ulong sector = (ulong)((i * 8) + load.SectorOffset);
        if (i % 8 == 5 && frontend.SegmentsPerRequest > Blkif.MaxSegmentsPerRequest)
        {
            Blkif.DecodedRequest request = Requests.Of(frontend, i, operation, sector);
            for (int s = 0; s < frontend.SegmentsPerRequest; s++)
            {
                frontend.SegmentListOf(i)[s] = new Blkif.RequestSegment
                {
                    Gref = frontend.GrantOf(i, s, readOnly: operation != Blkif.OpRead).Value,
                    LastSect = Requests.PageSectors - 1,
                };
            }
            frontend.MakeIndirect(ref request, i, operation, frontend.SegmentsPerRequest);
            return request;
        }
        return Requests.Of(
            frontend,
            i,
            operation,
            sector,
            operation == Blkif.OpFlushDiskcache ? [] : Requests.Pages(1)
        );
    }

    private static Blkif.DecodedRequest PrepareRare(Frontend frontend, int i, int place)
    {
        ulong sector = (ulong)(i * 8);
        Blkif.DecodedRequest request;
        switch (place)
        {
            case 8 or 9:
                return Requests.Of(frontend, i, Blkif.OpFlushDiskcache, sector);
            case 10:
                return Requests.Of(frontend, i, Blkif.OpFlushDiskcache, sector, Requests.Pages(2));
            case 11:
                return Requests.Of(frontend, i, Blkif.OpWriteBarrier, sector, Requests.Pages(2));
            case 12:
                return Requests.Discard(i, sector, 100);
            case 13:
                return Requests.Of(frontend, i, Blkif.OpRead, ulong.MaxValue, Requests.Pages(1));
            case 14:
                return Requests.Of(frontend, i, Blkif.OpReserved1, sector);
            default:
                request = Requests.Of(
                    frontend,
                    i,
                    i % 32 == 15 ? Blkif.OpRead : Blkif.OpWrite,
                    sector,
                    Requests.Pages(3)
                );
                request.Seg[1].Gref = 0;
                return request;
        }
    }
}
