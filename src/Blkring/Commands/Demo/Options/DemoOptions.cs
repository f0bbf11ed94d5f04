using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;

namespace Blkring.Commands.Demo.Options;

internal enum DiskKind
{
    File,
    Memory,
}

internal enum IoEngine
{
    /// <summary>io_uring; pread and pwrite where it is refused.</summary>
    Auto,
    IoUring,
    Sync,
}

/// <summary>The options of a run, which <see cref="DemoChecks"/> has accepted.</summary>
internal sealed record DemoOptions
{
    /// <summary>Null for a temporary image.</summary>
    public string? Image { get; init; }
    public bool Write { get; init; }

    /// <summary>The seconds to measure per ABI.</summary>
    public double Seconds { get; init; }
    public required IReadOnlyList<BlkifProtocol> Protocols { get; init; }

    /// <summary>The queue depth; null for several.</summary>
    public int? IoDepth { get; init; }
    public int RingPages { get; init; }
    public DemoFeatures Features { get; init; } = new();

    /// <summary>
    /// The feature to measure with and without, or <see cref="FeatureTrial.All"/>; null for the table of queue depths.
    /// </summary>
    public string? Compare { get; init; }
    public DiskKind Disk { get; init; }
    public CacheMode Cache { get; init; }
    public IoEngine Io { get; init; }
    public int Processes { get; init; }
    public ulong Seed { get; init; }
    public bool Json { get; init; }

    /// <summary>
    /// The queue depths to measure: one request, a few, as many as one page of ring holds, and the whole ring if it is
    /// larger.
    /// </summary>
    public int[] Depths
    {
        get
        {
            if (IoDepth is { } depth)
                return [depth];
            int entries = EntriesOf(RingPages);
            return entries > 32 ? [1, 8, 32, entries] : [1, 8, 32];
        }
    }

    /// <summary>
    /// The number of requests that a ring holds in every ABI: the entries of native and x86_64 are the larger ones.
    /// </summary>
    public static int EntriesOf(int ringPages) =>
        Math.Min(
            Blkif.BackRing<Blkif.X86_64>.EntryCountFor(ringPages),
            Blkif.BackRing<Blkif.X86_32>.EntryCountFor(ringPages)
        );

    public static string NameOf(BlkifProtocol protocol) =>
        protocol switch
        {
            BlkifProtocol.X86_32 => "x86_32",
            BlkifProtocol.X86_64 => "x86_64",
            _ => "native",
        };
}
