using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Blkring.Engine;

namespace Blkring.Commands.Demo;

/// <summary>The command line of <c>blkring demo</c>: what may be asked, and what makes no sense together.</summary>
internal static class DemoCommand
{
    private const double MaxSeconds = 86_400;

    private static readonly Option<string?> s_image = new("--image")
    {
        Description = "A raw image or block device to serve. It is only read unless --write is given. Without it: a temporary image of 256 MiB",
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

    private static readonly Option<string> s_abi = Choice("--abi", "The frontend's ABI", "all", "native", "x86_32", "x86_64", "all");

    private static readonly Option<int?> s_ioDepth = new("--iodepth")
    {
        Description = "Requests in flight. Without it: 1, 8, 32 and the whole ring",
        HelpName = "N",
        CustomParser = result => ParseCount(result, "--iodepth"),
    };

    private static readonly Option<string> s_ringPages = Choice("--ring-pages", "Pages of the shared ring", "1", "1", "2", "4", "8", "16");
    private static readonly Option<string> s_disk = Choice("--disk", "What stores the sectors", "file", "file", "memory");
    private static readonly Option<string> s_cache = Choice("--cache", "O_DIRECT, the page cache, or what the file allows", "auto", "auto", "direct", "buffered");
    private static readonly Option<string> s_io = Choice("--io", "How the disk is reached. auto: io_uring, or sync where it is refused", "auto", "auto", "io_uring", "sync");
    private static readonly Option<string> s_processes = Choice("--processes", "2 runs the frontend in a process of its own", "1", "1", "2");

    private static readonly Option<ulong> s_seed = new("--seed")
    {
        Description = "Chooses the requests and what they write",
        HelpName = "N",
        DefaultValueFactory = _ => 1,
        CustomParser = ParseSeed,
    };

    private static readonly Option<bool> s_json = new("--json") { Description = "Print one JSON object instead of the table" };

    public static Command Create()
    {
        Command command = new("demo", """
            Serves a disk to a frontend without a hypervisor, in each ABI, and checks every byte it reads.

            Example:
              blkring demo --abi x86_32 --iodepth 32 --seconds 10
            """)
        {
            s_image, s_write, s_seconds, s_abi, s_ioDepth, s_ringPages, s_disk, s_cache, s_io, s_processes, s_seed, s_json,
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
            Protocols = parsed.GetValue(s_abi) switch
            {
                "native" => [BlkifProtocol.Native],
                "x86_32" => [BlkifProtocol.X86_32],
                "x86_64" => [BlkifProtocol.X86_64],
                _ => [BlkifProtocol.Native, BlkifProtocol.X86_32, BlkifProtocol.X86_64],
            },
            IoDepth = parsed.GetValue(s_ioDepth),
            RingPages = int.Parse(parsed.GetRequiredValue(s_ringPages), CultureInfo.InvariantCulture),
            Disk = parsed.GetValue(s_disk) == "memory" ? DiskKind.Memory : DiskKind.File,
            Cache = parsed.GetValue(s_cache) switch { "direct" => CacheMode.Direct, "buffered" => CacheMode.Buffered, _ => CacheMode.Auto },
            Io = parsed.GetValue(s_io) switch { "io_uring" => IoEngine.IoUring, "sync" => IoEngine.Sync, _ => IoEngine.Auto },
            Processes = parsed.GetValue(s_processes) == "2" ? 2 : 1,
            Seed = parsed.GetValue(s_seed),
            Json = parsed.GetValue(s_json),
        };
        CheckTogether(options);
        return options;
    }

    private static void CheckTogether(DemoOptions options)
    {
        int entries = DemoOptions.EntriesOf(options.RingPages);
        if (options.IoDepth > entries)
        {
            throw new UsageException($"--iodepth {options.IoDepth} is more than a ring of {options.RingPages} page(s) holds: give at most {entries}"
                + (options.RingPages < 16 ? ", or more --ring-pages" : ""));
        }
        if (options.Image is { Length: 0 }) throw new UsageException("--image is empty: name a raw image file or a block device");
        if (options.Disk == DiskKind.Memory && options.Image is not null) throw new UsageException("--image and --disk memory exclude each other: leave one out");
        if (options.Disk == DiskKind.Memory && options.Cache != CacheMode.Auto)
            throw new UsageException("--cache means nothing with --disk memory: leave it out");
    }

    /// <summary>An option with a few names for values; the library's own check would print them on lines of their own.</summary>
    private static Option<string> Choice(string name, string description, string standard, params string[] values)
    {
        Option<string> option = new(name) { Description = description, HelpName = string.Join('|', values), DefaultValueFactory = _ => standard };
        option.Validators.Add(result =>
        {
            if (result.Tokens is [var token] && !values.Contains(token.Value))
                result.AddError($"{name} {token.Value}: give {string.Join(", ", values[..^1])} or {values[^1]}");
        });
        return option;
    }

    private static double ParseSeconds(ArgumentResult result)
    {
        string text = result.Tokens[0].Value;
        if (double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double seconds) && seconds is > 0 and <= MaxSeconds) return seconds;
        result.AddError($"--seconds {text}: give a number above 0, at most {MaxSeconds:F0}");
        return 0;
    }

    private static int? ParseCount(ArgumentResult result, string name)
    {
        string text = result.Tokens[0].Value;
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int count) && count > 0) return count;
        result.AddError($"{name} {text}: give a whole number from 1 to what the ring holds ({DemoOptions.EntriesOf(1)} with one page)");
        return null;
    }

    private static ulong ParseSeed(ArgumentResult result)
    {
        string text = result.Tokens[0].Value;
        if (ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out ulong seed)) return seed;
        result.AddError($"--seed {text}: give a whole number from 0 to {ulong.MaxValue}");
        return 0;
    }
}
