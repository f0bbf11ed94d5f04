using System.Globalization;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;

namespace Blkring.Commands.Demo.Options;

/// <summary>The features that a device is served with; by default, all of them are off.</summary>
internal sealed record DemoFeatures
{
    /// <summary>The number of rings; each has a part of the disk.</summary>
    public int Queues { get; init; } = 1;

    /// <summary>The number of backend threads that serve them.</summary>
    public int Threads { get; init; } = 1;
    public GrantMode Grants { get; init; }

    /// <summary>The greatest number of segments of an INDIRECT request; 0 offers none.</summary>
    public int Indirect { get; init; }
    public int PollWindowUs { get; init; } = ReactorSettings.PollWindowMicroseconds.Default;

    /// <summary>The limit in requests per second; 0 for none.</summary>
    public long Iops { get; init; }

    /// <summary>The limit in bytes per second; 0 for none.</summary>
    public long BytesPerSecond { get; init; }

    /// <summary>The disk's sector. The guest counts in sectors of 512 bytes, whatever this is.</summary>
    public int SectorBytes { get; init; } = Disk.SectorBytes;

    /// <summary>The number of pages of data that the guest has per request.</summary>
    public int Segments => Indirect == 0 ? Blkif.MaxSegmentsPerRequest : Indirect;

    public bool IsLimited => Iops > 0 || BytesPerSecond > 0;

    /// <summary>The features that are on, in one line; null if none is.</summary>
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
        if (PollWindowUs != ReactorSettings.PollWindowMicroseconds.Default)
            parts.Add(PollWindowUs == 0 ? "no busy polling" : $"busy polling for {PollWindowUs} µs");
        if (Iops > 0)
            parts.Add(string.Create(CultureInfo.InvariantCulture, $"at most {Iops:N0} requests per second"));
        if (BytesPerSecond > 0)
            parts.Add(string.Create(CultureInfo.InvariantCulture, $"at most {BytesPerSecond / 1e6:N0} MB/s"));
        if (SectorBytes != Disk.SectorBytes)
            parts.Add($"sectors of {SectorBytes} bytes");
        return parts.Count == 0 ? null : string.Join(", ", parts);
    }
}
