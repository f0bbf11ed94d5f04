using System.Runtime.CompilerServices;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Memory;

namespace Blkring.Engine.Queues;

/// <summary>
/// Decides whether a request may touch the disk. Pure functions of a private copy; no guest value can make them wrap.
/// </summary>
public static class RequestValidator
{
    /// <summary>Sectors of one granted page.</summary>
    public const int SectorsPerPage = Arena.PageBytes / Disk.SectorBytes;

    /// <summary>
    /// Measures a request's segments (B7): at most 11, first not after last, last within the page, the end within the
    /// disk.
    /// </summary>
    /// <param name="capacitySectors">The disk's length.</param>
    /// <param name="lengthSectors">Sum over the segments; undefined when the result is false.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryMeasure(in Blkif.DecodedRequest request, long capacitySectors, out int lengthSectors)
    {
        lengthSectors = 0;
        if (request.NrSegments > Blkif.MaxSegmentsPerRequest)
            return false;
        ReadOnlySpan<Blkif.RequestSegment> segments = request.Seg;
        return TryMeasure(segments[..request.NrSegments], request.SectorNumber, capacitySectors, out lengthSectors);
    }

    /// <summary>
    /// The same for segments that were copied elsewhere. The caller checks how many there may be.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryMeasure(
        ReadOnlySpan<Blkif.RequestSegment> segments,
        ulong startSector,
        long capacitySectors,
        out int lengthSectors
    )
    {
        lengthSectors = 0;
        foreach (ref readonly Blkif.RequestSegment segment in segments)
        {
            int first = segment.FirstSect,
                last = segment.LastSect;
            if (first > last || last >= SectorsPerPage)
                return false;
            lengthSectors += last - first + 1;
        }
        return FitsDisk(startSector, (ulong)lengthSectors, capacitySectors);
    }

    /// <summary>
    /// Whether a range lies within the disk; compared by subtraction, so that a start near 2^64 cannot wrap.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool FitsDisk(ulong startSector, ulong lengthSectors, long capacitySectors) =>
        lengthSectors <= (ulong)capacitySectors && startSector <= (ulong)capacitySectors - lengthSectors;
}
