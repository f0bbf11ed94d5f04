using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;

namespace Blkring.Commands.Demo.Options;

/// <summary>Checks options that are valid one by one but not together.</summary>
internal static class DemoChecks
{
    /// <summary>The requests in flight at the end of a run are still served at this rate.</summary>
    private const int MinIops = 100;

    /// <summary>1 GiB of buffers.</summary>
    private const long MaxGuestPages = 1 << 18;

    /// <exception cref="UsageException">They contradict each other; the message says what to change.</exception>
    public static void Check(DemoOptions options)
    {
        CheckDepth(options);
        CheckDisk(options);
        CheckFeatures(options);
        CheckComparison(options);
    }

    private static void CheckDepth(DemoOptions options)
    {
        int entries = DemoOptions.EntriesOf(options.RingPages);
        if (options.IoDepth > entries)
        {
            throw new UsageException(
                $"--iodepth {options.IoDepth} is more than a ring of {options.RingPages} page(s) holds: "
                    + $"give at most {entries}"
                    + (options.RingPages < 16 ? ", or more --ring-pages" : "")
            );
        }
    }

    private static void CheckDisk(DemoOptions options)
    {
        if (options.Image is { Length: 0 })
            throw new UsageException("--image is empty: name a raw image file or a block device");
        if (options.Disk == DiskKind.Memory && options.Image is not null)
            throw new UsageException("--image and --disk memory exclude each other: leave one out");
        if (options.Disk == DiskKind.Memory && options.Cache != CacheMode.None)
            throw new UsageException("--cache has no effect with --disk memory: leave it out");
    }

    private static void CheckFeatures(DemoOptions options)
    {
        DemoFeatures features = options.Features;
        if (features.Indirect is > 0 and <= Blkif.MaxSegmentsPerRequest)
        {
            throw new UsageException(
                $"--indirect {features.Indirect} is not more than a direct request holds: "
                    + $"give {Blkif.MaxSegmentsPerRequest + 1} to {VbdQueueOptions.IndirectSegmentsLimit}, or 0"
            );
        }
        if (features.Iops is > 0 and < MinIops)
        {
            throw new UsageException(
                $"--iops {features.Iops}: give 0 or at least {MinIops}, or the demo would take too long to end"
            );
        }
        long pages = (long)features.Queues * DemoOptions.EntriesOf(options.RingPages) * features.Segments;
        if (pages > MaxGuestPages)
        {
            throw new UsageException(
                $"the guest would need {pages >> 8} MiB for its requests, at most {MaxGuestPages >> 8} are allowed: "
                    + "give fewer --queues, --ring-pages or --indirect segments"
            );
        }
        if (options.Processes == 2 && features.Queues > 1)
            throw new UsageException("--queues and --processes 2 exclude each other: leave one out");
    }

    private static void CheckComparison(DemoOptions options)
    {
        if (options.Compare is not { } name)
            return;
        if (!FeatureTrial.Names.Contains(name))
            throw new UsageException($"--compare {name}: give {string.Join(", ", FeatureTrial.Names)}");
        if (options.Processes == 2)
            throw new UsageException("--compare and --processes 2 exclude each other: leave one out");
        if (options is { Write: true, Image: not null })
            throw new UsageException("--compare would write --image from two devices at once: leave --write out");
    }
}
