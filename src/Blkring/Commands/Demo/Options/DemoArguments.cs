using System.CommandLine;
using System.Globalization;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;

namespace Blkring.Commands.Demo.Options;

/// <summary>The options of <c>blkring demo</c> and their meaning.</summary>
internal static class DemoArguments
{
    private const double MaxSeconds = 86_400;

    private static readonly Option<string?> s_image = new("--image")
    {
        Description =
            "Raw image or block device to serve; not written unless --write is given. "
            + "Default: a temporary image of 256 MiB",
        HelpName = "PATH",
    };

    private static readonly Option<bool> s_write = new("--write")
    {
        Description = "Write to the image named by --image as well: its content is OVERWRITTEN",
    };

    private static readonly Option<double> s_seconds = OptionKinds.Seconds(
        "--seconds",
        "Seconds to measure per ABI, divided among the queue depths",
        standard: 3,
        MaxSeconds
    );

    private static readonly Option<string> s_abi = OptionKinds.Choice(
        "--abi",
        "Layout of the requests on the ring, which depends on the guest's architecture",
        "all",
        "native",
        "x86_32",
        "x86_64",
        "all"
    );

    private static readonly Option<int?> s_ioDepth = OptionKinds.OptionalNumber(
        "--iodepth",
        "Queue depth: the number of requests in flight per ring. Default: 1, 8, 32 and the whole ring, in turn",
        $"what the ring holds ({DemoOptions.EntriesOf(1)} with one page)"
    );

    private static readonly Option<string> s_ringPages = OptionKinds.Choice(
        "--ring-pages",
        "Size of each shared ring in pages of 4 KiB; one page holds 32 requests",
        "1",
        "1",
        "2",
        "4",
        "8",
        "16"
    );

    private static readonly Option<int> s_queues = OptionKinds.Number(
        "--queues",
        "N",
        "Number of rings (blkif multi-queue). Each has a guest thread and a part of the disk",
        standard: 1,
        least: 1,
        most: 16
    );

    private static readonly Option<int> s_threads = OptionKinds.Number(
        "--threads",
        "N",
        "Number of backend threads that serve the rings",
        standard: 1,
        least: 1,
        most: 16
    );

    private static readonly Option<string> s_grants = OptionKinds.Choice(
        "--grants",
        "How the backend reaches the guest's pages: copy them, map them per request, or keep them mapped",
        "copy",
        "copy",
        "map",
        "persistent"
    );

    private static readonly Option<int> s_indirect = OptionKinds.Number(
        "--indirect",
        "SEGMENTS",
        "Offer INDIRECT requests of up to this many segments of 4 KiB (12 to 4096); 0 offers none",
        standard: 0,
        least: 0,
        VbdQueueOptions.IndirectSegmentsLimit
    );

    private static readonly Option<int> s_pollWindow = OptionKinds.Number(
        "--poll-window",
        "US",
        "Microseconds that a backend thread busy-polls for requests before it sleeps, while that pays; up to six "
            + "times as long where requests take long. 0 never polls",
        ReactorSettings.PollWindowMicroseconds.Default,
        least: 0,
        most: 10_000
    );

    private static readonly Option<int> s_iops = OptionKinds.Number(
        "--iops",
        "N",
        "Limit of the device in requests per second, at least 100; 0 for none",
        standard: 0,
        least: 0,
        most: int.MaxValue
    );

    private static readonly Option<int> s_bandwidth = OptionKinds.Number(
        "--bandwidth",
        "MB",
        "Limit of the device in MB per second (10^6 bytes); 0 for none",
        standard: 0,
        least: 0,
        most: 1_000_000
    );

    private static readonly Option<string> s_sectorSize = OptionKinds.Choice(
        "--sector-size",
        "Sector of the disk in bytes. With 4096 the guest still sends 512-byte sectors, and the backend reads, "
            + "modifies and writes whole ones",
        "512",
        "512",
        "4096"
    );

    private static readonly Option<string?> s_compare = new("--compare")
    {
        Description =
            "Measure one feature with and without it, in turn, and print the ratio; in x86_64 unless --abi is given. "
            + "One of: "
            + string.Join(", ", FeatureTrial.Names),
        HelpName = "FEATURE",
    };

    private static readonly Option<string> s_disk = OptionKinds.Choice(
        "--disk",
        "Where the sectors are stored: in an image, or in memory that ends with the demo",
        "file",
        "file",
        "memory"
    );

    private static readonly Option<string> s_cache = OptionKinds.Choice(
        "--cache",
        "How the image is opened: with O_DIRECT, through the page cache, or with O_DIRECT where the file allows it",
        "auto",
        "auto",
        "direct",
        "buffered"
    );

    private static readonly Option<string> s_io = OptionKinds.Choice(
        "--io",
        "System calls for the disk: io_uring, or pread and pwrite (sync). auto: io_uring unless it is refused",
        "auto",
        "auto",
        "io_uring",
        "sync"
    );

    private static readonly Option<string> s_processes = OptionKinds.Choice(
        "--processes",
        "2 runs the guest in another process, which shares only its memory and its event channel",
        "1",
        "1",
        "2"
    );

    private static readonly Option<ulong> s_seed = OptionKinds.Seed(
        "--seed",
        "Seed of the random requests and their data: the same seed sends the same requests",
        standard: 1
    );

    private static readonly Option<bool> s_json = new("--json")
    {
        Description = "Print one JSON object instead of the table",
    };

    /// <summary>Every option, in the order of the help.</summary>
    public static IReadOnlyList<Option> All { get; } =
    [
        s_image,
        s_write,
        s_disk,
        s_cache,
        s_io,
        s_sectorSize,
        s_abi,
        s_ioDepth,
        s_ringPages,
        s_queues,
        s_threads,
        s_grants,
        s_indirect,
        s_pollWindow,
        s_iops,
        s_bandwidth,
        s_seconds,
        s_compare,
        s_processes,
        s_seed,
        s_json,
    ];

    /// <exception cref="UsageException">The options contradict each other.</exception>
    public static DemoOptions Read(ParseResult parsed)
    {
        DemoOptions options = new()
        {
            Image = parsed.GetValue(s_image),
            // The temporary image and the memory disk belong to the demo: they are always written.
            Write = parsed.GetValue(s_write) || parsed.GetValue(s_image) is null,
            Seconds = parsed.GetValue(s_seconds),
            Protocols = AbiOf(parsed) switch
            {
                "native" => [BlkifProtocol.Native],
                "x86_32" => [BlkifProtocol.X86_32],
                "x86_64" => [BlkifProtocol.X86_64],
                _ => [BlkifProtocol.Native, BlkifProtocol.X86_32, BlkifProtocol.X86_64],
            },
            IoDepth = parsed.GetValue(s_ioDepth),
            RingPages = int.Parse(parsed.GetRequiredValue(s_ringPages), CultureInfo.InvariantCulture),
            Features = ReadFeatures(parsed),
            Compare = parsed.GetValue(s_compare),
            Disk = parsed.GetValue(s_disk) == "memory" ? DiskKind.Memory : DiskKind.File,
            Cache = parsed.GetValue(s_cache) switch
            {
                "direct" => CacheMode.Direct,
                "buffered" => CacheMode.Writeback,
                _ => CacheMode.None,
            },
            Io = parsed.GetValue(s_io) switch
            {
                "io_uring" => IoEngine.IoUring,
                "sync" => IoEngine.Sync,
                _ => IoEngine.Auto,
            },
            Processes = parsed.GetValue(s_processes) == "2" ? 2 : 1,
            Seed = parsed.GetValue(s_seed),
            Json = parsed.GetValue(s_json),
        };
        DemoChecks.Check(options);
        return options;
    }

    /// <summary>A comparison uses one ABI by default, because all of them take three times as long.</summary>
    private static string? AbiOf(ParseResult parsed) =>
        parsed.GetValue(s_compare) is not null && parsed.GetResult(s_abi) is null or { Implicit: true }
            ? "x86_64"
            : parsed.GetValue(s_abi);

    private static DemoFeatures ReadFeatures(ParseResult parsed) =>
        new()
        {
            Queues = parsed.GetValue(s_queues),
            Threads = parsed.GetValue(s_threads),
            Grants = parsed.GetValue(s_grants) switch
            {
                "map" => GrantMode.Map,
                "persistent" => GrantMode.Persistent,
                _ => GrantMode.Copy,
            },
            Indirect = parsed.GetValue(s_indirect),
            PollWindowUs = parsed.GetValue(s_pollWindow),
            Iops = parsed.GetValue(s_iops),
            BytesPerSecond = parsed.GetValue(s_bandwidth) * 1_000_000L,
            SectorBytes = parsed.GetValue(s_sectorSize) == "4096" ? 4096 : Disk.SectorBytes,
        };
}
