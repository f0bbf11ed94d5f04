using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;

namespace Blkring.Commands.Demo;

/// <summary>The command line of <c>blkring demo</c>: what may be asked, and what makes no sense together.</summary>
internal static class DemoCommand
{
    private const double MaxSeconds = 86_400;

    /// <summary>What is in flight when a run ends is still served at this rate.</summary>
    private const int LeastIops = 100;

    /// <summary>1 GiB of buffers.</summary>
    private const long MostGuestPages = 1 << 18;

    private static readonly Option<string?> s_image = new("--image")
    {
        Description =
            "A raw image or block device to serve. It is only read unless --write is given. Without it: a temporary image of 256 MiB",
        HelpName = "PATH",
    };

    private static readonly Option<bool> s_write = new("--write")
    {
        Description = "Also write to the image named by --image. Its content is overwritten",
    };

    private static readonly Option<double> s_seconds = new("--seconds")
    {
        Description = "Measured time per ABI",
        HelpName = "S",
        DefaultValueFactory = _ => 3,
        CustomParser = ParseSeconds,
    };

    private static readonly Option<string> s_abi = Choice(
        "--abi",
        "The frontend's ABI",
        "all",
        "native",
        "x86_32",
        "x86_64",
        "all"
    );

    private static readonly Option<int?> s_ioDepth = new("--iodepth")
    {
        Description = "Requests in flight. Without it: 1, 8, 32 and the whole ring",
        HelpName = "N",
        CustomParser = result => ParseCount(result, "--iodepth"),
    };

    private static readonly Option<string> s_ringPages = Choice(
        "--ring-pages",
        "Pages of the shared ring",
        "1",
        "1",
        "2",
        "4",
        "8",
        "16"
    );
    private static readonly Option<string> s_disk = Choice(
        "--disk",
        "What stores the sectors",
        "file",
        "file",
        "memory"
    );
    private static readonly Option<string> s_cache = Choice(
        "--cache",
        "O_DIRECT, the page cache, or what the file allows",
        "auto",
        "auto",
        "direct",
        "buffered"
    );
    private static readonly Option<string> s_io = Choice(
        "--io",
        "How the disk is reached. auto: io_uring, or sync where it is refused",
        "auto",
        "auto",
        "io_uring",
        "sync"
    );
    private static readonly Option<string> s_processes = Choice(
        "--processes",
        "2 runs the frontend in a process of its own",
        "1",
        "1",
        "2"
    );

    private static readonly Option<ulong> s_seed = new("--seed")
    {
        Description = "Chooses the requests and what they write",
        HelpName = "N",
        DefaultValueFactory = _ => 1,
        CustomParser = ParseSeed,
    };

    private static readonly Option<int> s_queues = Number(
        "--queues",
        "N",
        "Rings of the device, each with a guest's thread and a part of the disk",
        1,
        1,
        16
    );
    private static readonly Option<int> s_threads = Number("--threads", "N", "Threads that serve the rings", 1, 1, 16);
    private static readonly Option<string> s_grants = Choice(
        "--grants",
        "How the guest's pages are reached: copied, mapped for each request, or kept mapped",
        "copy",
        "copy",
        "map",
        "persistent"
    );

    private static readonly Option<int> s_indirect = Number(
        "--indirect",
        "SEGMENTS",
        "Offers INDIRECT requests of so many segments of a page; 0 offers none",
        0,
        0,
        VbdQueueOptions.IndirectSegmentsLimit
    );

    private static readonly Option<int> s_pollWindow = Number(
        "--poll-window",
        "US",
        "How long a thread looks for work before it sleeps, when that has been seen to pay; six times at most where work takes long; 0 never looks",
        DemoFeatures.StandardPollWindowUs,
        0,
        10_000
    );

    private static readonly Option<int> s_iops = Number(
        "--iops",
        "N",
        "Serves at most so many requests a second; 0 for no limit",
        0,
        0,
        int.MaxValue
    );
    private static readonly Option<int> s_bandwidth = Number(
        "--bandwidth",
        "MB",
        "Moves at most so many MB a second; 0 for no limit",
        0,
        0,
        1_000_000
    );

    private static readonly Option<string> s_sectorSize = Choice(
        "--sector-size",
        "What the disk reads and writes in one piece; a guest may use parts of it all the same",
        "512",
        "512",
        "4096"
    );

    private static readonly Option<string?> s_compare = new("--compare")
    {
        Description =
            "Measures one feature with and without, in turn, in x86_64 if --abi is not given: "
            + string.Join(", ", FeatureTrial.Names),
        HelpName = "FEATURE",
    };

    private static readonly Option<bool> s_json = new("--json")
    {
        Description = "Print one JSON object instead of the table",
    };

    public static Command Create()
    {
        Command command = new(
            "demo",
            """
            Serves a disk to a frontend without a hypervisor, in each ABI, and checks every byte it reads.

            Example:
              blkring demo --abi x86_32 --iodepth 32 --seconds 10
              blkring demo --compare all --disk memory
            """
        )
        {
            s_image,
            s_write,
            s_seconds,
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
            s_sectorSize,
            s_compare,
            s_disk,
            s_cache,
            s_io,
            s_processes,
            s_seed,
            s_json,
        };
        command.SetAction(parsed => new DemoRun(Read(parsed)).Execute());
        return command;
    }

    private static DemoOptions Read(ParseResult parsed)
    {
        DemoOptions options = new()
        {
            Image = parsed.GetValue(s_image),
            // The temporary image and the memory disk are ours: they are always written.
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
        CheckTogether(options);
        CheckFeatures(options);
        return options;
    }

    /// <summary>One ABI will do to see what a feature gains; all of them take three times as long.</summary>
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

    private static void CheckTogether(DemoOptions options)
    {
        int entries = DemoOptions.EntriesOf(options.RingPages);
        if (options.IoDepth > entries)
        {
            throw new UsageException(
                $"--iodepth {options.IoDepth} is more than a ring of {options.RingPages} page(s) holds: give at most {entries}"
                    + (options.RingPages < 16 ? ", or more --ring-pages" : "")
            );
        }
        if (options.Image is { Length: 0 })
            throw new UsageException("--image is empty: name a raw image file or a block device");
        if (options.Disk == DiskKind.Memory && options.Image is not null)
            throw new UsageException("--image and --disk memory exclude each other: leave one out");
        if (options.Disk == DiskKind.Memory && options.Cache != CacheMode.None)
            throw new UsageException("--cache means nothing with --disk memory: leave it out");
    }

    private static void CheckFeatures(DemoOptions options)
    {
        DemoFeatures features = options.Features;
        if (features.Indirect is > 0 and <= Blkif.MaxSegmentsPerRequest)
        {
            throw new UsageException(
                $"--indirect {features.Indirect} is no more than a direct request holds: "
                    + $"give {Blkif.MaxSegmentsPerRequest + 1} to {VbdQueueOptions.IndirectSegmentsLimit}, or 0"
            );
        }
        if (features.Iops is > 0 and < LeastIops)
            throw new UsageException(
                $"--iops {features.Iops}: give 0 or at least {LeastIops}, or the demo would hardly end"
            );
        long pages = (long)features.Queues * DemoOptions.EntriesOf(options.RingPages) * features.Segments;
        if (pages > MostGuestPages)
        {
            throw new UsageException(
                $"the guest would need {pages >> 8} MiB for its requests, at most {MostGuestPages >> 8} are given: "
                    + "fewer --queues, --ring-pages or --indirect segments"
            );
        }
        if (options.Processes == 2 && features.Queues > 1)
            throw new UsageException("--queues and --processes 2 exclude each other: leave one out");
        if (options.Compare is not { } name)
            return;
        if (!FeatureTrial.Names.Contains(name))
            throw new UsageException($"--compare {name}: give {string.Join(", ", FeatureTrial.Names)}");
        if (options.Processes == 2)
            throw new UsageException("--compare and --processes 2 exclude each other: leave one out");
        if (options is { Write: true, Image: not null })
            throw new UsageException("--compare would write --image from two devices at once: leave --write out");
    }

    /// <summary>
    /// An option with a few names for values; the library's own check would print them on lines of their own.
    /// </summary>
    private static Option<string> Choice(string name, string description, string standard, params string[] values)
    {
        Option<string> option = new(name)
        {
            Description = description,
            HelpName = string.Join('|', values),
            DefaultValueFactory = _ => standard,
        };
        option.Validators.Add(result =>
        {
            if (result.Tokens is [var token] && !values.Contains(token.Value))
                result.AddError($"{name} {token.Value}: give {string.Join(", ", values[..^1])} or {values[^1]}");
        });
        return option;
    }

    private static Option<int> Number(string name, string unit, string description, int standard, int least, int most)
    {
        return new Option<int>(name)
        {
            Description = description,
            HelpName = unit,
            DefaultValueFactory = _ => standard,
            CustomParser = Parse,
        };

        int Parse(ArgumentResult result)
        {
            string text = result.Tokens[0].Value;
            if (
                int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number)
                && number >= least
                && number <= most
            )
                return number;
            result.AddError(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{name} {text}: give a whole number from {least} to {most}"
                )
            );
            return standard;
        }
    }

    private static double ParseSeconds(ArgumentResult result)
    {
        string text = result.Tokens[0].Value;
        if (
            double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double seconds)
            && seconds is > 0 and <= MaxSeconds
        )
            return seconds;
        result.AddError($"--seconds {text}: give a number above 0, at most {MaxSeconds:F0}");
        return 0;
    }

    private static int? ParseCount(ArgumentResult result, string name)
    {
        string text = result.Tokens[0].Value;
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int count) && count > 0)
            return count;
        result.AddError(
            $"{name} {text}: give a whole number from 1 to what the ring holds ({DemoOptions.EntriesOf(1)} with one page)"
        );
        return null;
    }

    private static ulong ParseSeed(ArgumentResult result)
    {
        string text = result.Tokens[0].Value;
        if (ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out ulong seed))
            return seed;
        result.AddError($"--seed {text}: give a whole number from 0 to {ulong.MaxValue}");
        return 0;
    }
}
