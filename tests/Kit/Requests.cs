using Blkring.Abi;
using Blkring.Engine.Queues;
using Blkring.Loopback;

namespace Blkring.Tests.Kit;

/// <summary>Requests as tests write them.</summary>
public static class Requests
{
    /// <summary>Sectors of a granted page.</summary>
    public const int PageSectors = RequestValidator.SectorsPerPage;

    public static readonly int[] WithSegments =
    [
        Blkif.OpRead,
        Blkif.OpWrite,
        Blkif.OpFlushDiskcache,
        Blkif.OpWriteBarrier,
    ];

    /// <summary>
    /// A request with one run of sectors for each segment; the grants are those of the frontend's request number.
    /// </summary>
    public static Blkif.DecodedRequest Of(
        Frontend frontend,
        int number,
        int operation,
        ulong sector,
        params (int First, int Last)[] segments
    )
    {
        Blkif.DecodedRequest request = default;
        request.Operation = (byte)operation;
        request.Handle = 768;
        // All eight bytes differ, so that an id cut short is noticed.
        request.Id = 0xF1E2D3C4B5A60000 + (ulong)number;
        request.SectorNumber = sector;
        request.NrSegments = (ushort)segments.Length;
        for (int i = 0; i < segments.Length && i < Blkif.MaxSegmentsPerRequest; i++)
        {
            request.Seg[i].Gref = frontend
                .GrantOf(number % frontend.EntryCount, i, readOnly: operation != Blkif.OpRead)
                .Value;
            (request.Seg[i].FirstSect, request.Seg[i].LastSect) = ((byte)segments[i].First, (byte)segments[i].Last);
        }
        return request;
    }

    public static Blkif.DecodedRequest Discard(int number, ulong sector, ulong sectors) =>
        new()
        {
            Operation = Blkif.OpDiscard,
            Id = 0xF1E2D3C4B5A60000 + (ulong)number,
            SectorNumber = sector,
            NrSectors = sectors,
        };

    /// <summary>Whole pages.</summary>
    public static (int First, int Last)[] Pages(int count) => [.. Enumerable.Repeat((0, PageSectors - 1), count)];

    public static int SectorsOf(in Blkif.DecodedRequest request)
    {
        int sectors = 0;
        for (int i = 0; i < request.NrSegments; i++)
            sectors += request.Seg[i].LastSect - request.Seg[i].FirstSect + 1;
        return sectors;
    }
}
