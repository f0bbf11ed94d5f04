using Blkring.Engine.Queues;
using Blkring.Engine.Telemetry;

namespace Blkring.Loopback;

/// <summary>What a <see cref="VerifiedWorkload"/> sends.</summary>
public sealed class WorkloadOptions
{
    /// <summary>The number of sectors that the workload uses.</summary>
    public required long Sectors { get; init; }

    /// <summary>
    /// The first of them, a multiple of <see cref="BlockSectors"/>: each ring of a device uses its own part of the
    /// disk.
    /// </summary>
    public long FirstSector { get; init; }
    public required SectorModel Model { get; init; }

    /// <summary>
    /// A request that changes something shares no block of this size with another one in flight. With 1, requests may
    /// be adjacent anywhere.
    /// </summary>
    public int BlockSectors { get; init; } = RequestValidator.SectorsPerPage;

    /// <summary>Only reads and writes of whole pages, as long as the frontend can make them.</summary>
    public bool LongRequests { get; init; }

    /// <summary>Only reads.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>Whether a discarded range reads as zeros; otherwise its content is undefined.</summary>
    public bool DiscardZeroes { get; init; } = true;

    /// <summary>Whether the backend offers WRITE_BARRIER, which it does not with several rings.</summary>
    public bool Barrier { get; init; } = true;

    /// <summary>
    /// Whether the backend offers DISCARD. It may still answer BLKIF_RSP_EOPNOTSUPP, if its store turns out not to
    /// support it; the workload then sends no more.
    /// </summary>
    public bool Discard { get; init; } = true;
    public ulong Seed { get; init; } = 1;

    /// <summary>How long the backend may send no response, with requests in flight, before the run fails.</summary>
    public int SilenceMs { get; init; } = 20_000;
}

/// <summary>The result of a phase of a workload, as the frontend saw it.</summary>
public sealed class WorkloadResult
{
    public long Reads { get; set; }
    public long Writes { get; set; }
    public long Flushes { get; set; }
    public long Discards { get; set; }

    /// <summary>The number of reads and writes that were INDIRECT requests.</summary>
    public long Indirect { get; set; }
    public long Bytes { get; set; }

    /// <summary>The number of requests of which every byte was compared, or will be by a later read.</summary>
    public long Verified { get; set; }

    /// <summary>The number of requests answered with an error.</summary>
    public long Errors { get; set; }

    /// <summary>The number of sectors that did not hold what they should.</summary>
    public long WrongSectors { get; set; }

    /// <summary>The first problem; null if there was none.</summary>
    public string? FirstProblem { get; set; }
    public double Seconds { get; set; }

    /// <summary>The nanoseconds from putting a request on the ring to taking its response.</summary>
    public LatencyHistogram LatencyNs { get; } = new();

    public long Operations => Reads + Writes + Flushes + Discards;

    /// <summary>Adds the result of another ring in the same phase.</summary>
    public void Add(WorkloadResult other)
    {
        Reads += other.Reads;
        Writes += other.Writes;
        Flushes += other.Flushes;
        Discards += other.Discards;
        Indirect += other.Indirect;
        Bytes += other.Bytes;
        Verified += other.Verified;
        Errors += other.Errors;
        WrongSectors += other.WrongSectors;
        FirstProblem ??= other.FirstProblem;
        Seconds = Math.Max(Seconds, other.Seconds);
        LatencyNs.Add(other.LatencyNs);
    }

    public bool IsRight => FirstProblem is null && Errors == 0 && WrongSectors == 0;
}
