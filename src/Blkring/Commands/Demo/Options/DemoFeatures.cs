using System.Globalization;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;

namespace Blkring.Commands.Demo;

/// <summary>What can be switched on and off of one way of serving; as it stands, everything is off.</summary>
internal sealed record DemoFeatures
{
    public const int StandardPollWindowUs = 50;

    /// <summary>Rings of the device, each with a part of the disk.</summary>
    public int Queues { get; init; } = 1;

    /// <summary>Threads that serve them.</summary>
    public int Threads { get; init; } = 1;
    public GrantMode Grants { get; init; }

    /// <summary>Segments of an INDIRECT request; 0 offers none.</summary>
    public int Indirect { get; init; }
    public int PollWindowUs { get; init; } = StandardPollWindowUs;

    /// <summary>0 for no limit, as the next.</summary>
    public long Iops { get; init; }
    public long BytesPerSecond { get; init; }

    /// <summary>What the disk reads and writes in one piece; the guest counts in 512 bytes all the same.</summary>
    public int SectorBytes { get; init; } = Disk.SectorBytes;

    /// <summary>Pages of data that the guest has for each request.</summary>
    public int Segments => Indirect == 0 ? Blkif.MaxSegmentsPerRequest : Indirect;

    public bool IsLimited => Iops > 0 || BytesPerSecond > 0;

    /// <summary>One line of what is on; null when nothing is.</summary>
    public string? Describe()
    {
        List<string> parts = [];
        if (Queues > 1)
            parts.Add($"{Queues} queues, each with the depth shown");
        if (Threads > 1)
            parts.Add($"{Threads} threads");
        if (Grants != GrantMode.Copy)
            parts.Add(Grants == GrantMode.Map ? "pages mapped" : "persistent grants");
        if (Indirect > 0)
            parts.Add($"INDIRECT of {Indirect} segments");
        if (PollWindowUs != StandardPollWindowUs)
            parts.Add($"polls for {PollWindowUs} µs");
        if (Iops > 0)
            parts.Add(string.Create(CultureInfo.InvariantCulture, $"at most {Iops:N0} requests a second"));
        if (BytesPerSecond > 0)
            parts.Add(string.Create(CultureInfo.InvariantCulture, $"at most {BytesPerSecond / 1e6:N0} MB/s"));
        if (SectorBytes != Disk.SectorBytes)
            parts.Add($"sectors of {SectorBytes} bytes");
        return parts.Count == 0 ? null : string.Join(", ", parts);
    }
}
