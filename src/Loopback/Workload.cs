using Blkring.Engine.Queues;
using Blkring.Engine.Telemetry;

namespace Blkring.Loopback;

public sealed class WorkloadOptions
{
    /// <summary>Sectors that the workload uses, from <see cref="FirstSector"/> on.</summary>
    public required long Sectors { get; init; }

    /// <summary>
    /// Where they start, a multiple of <see cref="BlockSectors"/>: the rings of a device have a part of the disk each.
    /// </summary>
    public long FirstSector { get; init; }
    public required SectorModel Model { get; init; }

    /// <summary>
    /// Requests that change something share no block of so many sectors with others in flight. 1: they may lie next to
    /// each other anywhere.
    /// </summary>
    public int BlockSectors { get; init; } = RequestValidator.SectorsPerPage;

    /// <summary>Nothing but reads and writes of whole pages, as long as the frontend can make them.</summary>
    public bool LongRequests { get; init; }

    /// <summary>Only reads.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>What a discarded range reads as: zeros, or anything.</summary>
    public bool DiscardZeroes { get; init; } = true;

    /// <summary>The backend offers WRITE_BARRIER: not with several rings.</summary>
    public bool Barrier { get; init; } = true;

    /// <summary>
    /// The backend offers DISCARD. It may still answer EOPNOTSUPP once its store turns out not to have it: no more are
    /// sent then.
    /// </summary>
    public bool Discard { get; init; } = true;
    public ulong Seed { get; init; } = 1;

    /// <summary>How long a backend may be silent with requests in flight before the run is given up.</summary>
    public int SilenceMs { get; init; } = 20_000;
}

/// <summary>What a phase of a workload did, as the frontend saw it.</summary>
public sealed class WorkloadResult
{
    public long Reads { get; set; }
    public long Writes { get; set; }
    public long Flushes { get; set; }
    public long Discards { get; set; }

    /// <summary>Reads and writes that were INDIRECT requests.</summary>
    public long Indirect { get; set; }
    public long Bytes { get; set; }

    /// <summary>Requests whose every byte was compared, or whose effect a later read compares.</summary>
    public long Verified { get; set; }

    /// <summary>Answered with an error that the workload did not ask for.</summary>
    public long Errors { get; set; }

    /// <summary>Sectors that did not hold what they should.</summary>
    public long WrongSectors { get; set; }

    /// <summary>What went wrong first; null when nothing did.</summary>
    public string? FirstProblem { get; set; }
    public double Seconds { get; set; }

    /// <summary>Nanoseconds from putting a request on the ring to taking its response.</summary>
    public LatencyHistogram LatencyNs { get; } = new();

    public long Operations => Reads + Writes + Flushes + Discards;

    /// <summary>Takes in what another ring did in the same time.</summary>
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
