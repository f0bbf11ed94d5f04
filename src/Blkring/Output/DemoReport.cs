using System.Reflection;
using Blkring.Commands.Demo;

namespace Blkring.Output;

/// <summary>What the demo found: the whole of <c>--json</c>, and what the text is written from.</summary>
internal sealed record DemoReport
{
    public string Version { get; } =
        typeof(DemoReport).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";
    public required DemoHost Host { get; init; }
    public required DemoOptionsReport Options { get; init; }
    public required string Disk { get; init; }
    public required string Engine { get; init; }
    public required IReadOnlyList<string> Notes { get; init; }
    public required IReadOnlyList<DemoRow> Rows { get; init; }
    public required IReadOnlyList<DemoSweep> Sweeps { get; init; }
    public required IReadOnlyList<string> Faults { get; init; }
    public required IReadOnlyList<string> Problems { get; init; }

    /// <summary>Every byte was right, and the data path allocated nothing.</summary>
    public bool Ok => Problems.Count == 0;

    public string Verdict => Ok
        ? $"every byte right: {Count(Rows.Sum(row => row.Verified) + Sweeps.Sum(sweep => sweep.Verified))} requests verified, "
            + "0 bytes allocated, 0 collections"
        : $"FAILED: {Problems[0]}{(Problems.Count > 1 ? $" (and {Problems.Count - 1} more)" : "")}";

    public static string Count(long value) => value.ToString("N0", System.Globalization.CultureInfo.InvariantCulture);
}

internal sealed record DemoHost
{
    public required string System { get; init; }
    public required string Kernel { get; init; }
    public required string Runtime { get; init; }
    public required string Architecture { get; init; }
    public int Processors { get; init; }
}

/// <summary>The options as they were understood.</summary>
internal sealed record DemoOptionsReport
{
    public string? Image { get; init; }
    public bool Write { get; init; }
    public double Seconds { get; init; }
    public required IReadOnlyList<string> Abis { get; init; }
    public required IReadOnlyList<int> IoDepths { get; init; }
    public int RingPages { get; init; }
    public required string Disk { get; init; }
    public required string Cache { get; init; }
    public required string Io { get; init; }
    public int Processes { get; init; }
    public ulong Seed { get; init; }

    public static DemoOptionsReport From(DemoOptions options) => new()
    {
        Image = options.Image,
        Write = options.Write,
        Seconds = options.Seconds,
        Abis = [.. options.Protocols.Select(DemoOptions.NameOf)],
        IoDepths = options.Depths,
        RingPages = options.RingPages,
        Disk = options.Disk == DiskKind.Memory ? "memory" : "file",
        Cache = options.Cache switch { Engine.CacheMode.Direct => "direct", Engine.CacheMode.Buffered => "buffered", _ => "auto" },
        Io = options.Io switch { IoEngine.IoUring => "io_uring", IoEngine.Sync => "sync", _ => "auto" },
        Processes = options.Processes,
        Seed = options.Seed,
    };
}

/// <summary>One ABI at one queue depth.</summary>
internal sealed record DemoRow
{
    public required string Abi { get; init; }
    public int IoDepth { get; init; }
    public double Seconds { get; init; }
    public long Operations { get; init; }
    public long Reads { get; init; }
    public long Writes { get; init; }
    public long Flushes { get; init; }
    public long Discards { get; init; }
    public long Bytes { get; init; }
    public double Iops { get; init; }
    /// <summary>10^6 bytes a second.</summary>
    public double MegabytesPerSecond { get; init; }
    public double P50Us { get; init; }
    public double P99Us { get; init; }
    public double P999Us { get; init; }
    public long Verified { get; init; }
    public long Errors { get; init; }
    public long WrongSectors { get; init; }
    public long AllocatedBytes { get; init; }
    public int Collections { get; init; }

    public static DemoRow From(string abi, int depth, PhaseResult result, long allocatedBytes, int collections) => new()
    {
        Abi = abi,
        IoDepth = depth,
        Seconds = result.Seconds,
        Operations = result.Operations,
        Reads = result.Reads,
        Writes = result.Writes,
        Flushes = result.Flushes,
        Discards = result.Discards,
        Bytes = result.Bytes,
        Iops = result.Operations / result.Seconds,
        MegabytesPerSecond = result.Bytes / result.Seconds / 1e6,
        P50Us = result.P50Ns / 1e3,
        P99Us = result.P99Ns / 1e3,
        P999Us = result.P999Ns / 1e3,
        Verified = result.Verified,
        Errors = result.Errors,
        WrongSectors = result.WrongSectors,
        AllocatedBytes = allocatedBytes,
        Collections = collections,
    };
}

/// <summary>Everything that was touched, read back through one ABI.</summary>
internal sealed record DemoSweep
{
    public required string Abi { get; init; }
    public double Seconds { get; init; }
    public long Bytes { get; init; }
    /// <summary>Requests whose every byte was compared.</summary>
    public long Verified { get; init; }
    public long Errors { get; init; }
    public long WrongSectors { get; init; }

    public static DemoSweep From(string abi, PhaseResult result) => new()
    {
        Abi = abi,
        Seconds = result.Seconds,
        Bytes = result.Bytes,
        Verified = result.Verified,
        Errors = result.Errors,
        WrongSectors = result.WrongSectors,
    };
}
