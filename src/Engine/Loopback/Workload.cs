namespace Blkring.Engine.Loopback;

public sealed class WorkloadOptions
{
    /// <summary>Sectors that the workload uses, from the start of the disk.</summary>
    public required long Sectors { get; init; }
    public required SectorModel Model { get; init; }
    /// <summary>Only reads.</summary>
    public bool ReadOnly { get; init; }
    /// <summary>What a discarded range reads as: zeros, or anything.</summary>
    public bool DiscardZeroes { get; init; } = true;
    /// <summary>The backend offers DISCARD. It may still answer EOPNOTSUPP once its store turns out not to have it: no more are sent then.</summary>
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

    public bool IsRight => FirstProblem is null && Errors == 0 && WrongSectors == 0;
}
