using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;

namespace Blkring.Commands.Demo;

internal enum DiskKind
{
    File,
    Memory,
}

internal enum IoEngine
{
    /// <summary>io_uring, or pread and pwrite where it is refused.</summary>
    Auto,
    IoUring,
    Sync,
}

/// <summary>What the demo was asked for, already known to make sense.</summary>
internal sealed record DemoOptions
{
    /// <summary>Null for a temporary image.</summary>
    public string? Image { get; init; }
    public bool Write { get; init; }

    /// <summary>Measured time per ABI.</summary>
    public double Seconds { get; init; }
    public required IReadOnlyList<BlkifProtocol> Protocols { get; init; }

    /// <summary>Null for several.</summary>
    public int? IoDepth { get; init; }
    public int RingPages { get; init; }
    public DemoFeatures Features { get; init; } = new();

    /// <summary>
    /// The feature to be measured with and without, or <see cref="FeatureTrial.All"/>; null for the table of depths.
    /// </summary>
    public string? Compare { get; init; }
    public DiskKind Disk { get; init; }
    public CacheMode Cache { get; init; }
    public IoEngine Io { get; init; }
    public int Processes { get; init; }
    public ulong Seed { get; init; }
    public bool Json { get; init; }

    /// <summary>
    /// The depths to measure: a single request, a few, and what one page of ring holds; the whole ring where it is
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
    /// Requests that fit a ring in each of the ABIs: the native and x86_64 entries are the larger ones.
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
