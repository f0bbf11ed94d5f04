using System.Reflection;
using Blkring.Commands.Demo.Devices;
using Blkring.Commands.Demo.Guests;
using Blkring.Commands.Demo.Options;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;

namespace Blkring.Commands.Demo.Reports;

/// <summary>The results of the demo: printed whole by <c>--json</c>, and the source of the text.</summary>
internal sealed record DemoReport
{
    public string Version { get; } =
        typeof(DemoReport).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion
        ?? "unknown";
    public required DemoHost Host { get; init; }
    public required DemoOptionsReport Options { get; init; }
    public required string Disk { get; init; }
    public required string Engine { get; init; }

    /// <summary>The features that were on, in one line; null if none was.</summary>
    public string? Features { get; init; }
    public required IReadOnlyList<string> Notes { get; init; }
    public required IReadOnlyList<DemoRow> Rows { get; init; }
    public required IReadOnlyList<DemoComparisonRow> Comparisons { get; init; }
    public required IReadOnlyList<DemoSweep> Sweeps { get; init; }
    public required IReadOnlyList<string> Faults { get; init; }
    public required IReadOnlyList<string> Problems { get; init; }

    /// <summary>Whether every byte was right and the data path allocated nothing.</summary>
    public bool Ok => Problems.Count == 0;

    public string Verdict =>
        Ok
            ? $"every byte right: {Count(Verified)} requests verified, 0 bytes allocated, 0 collections"
            : $"FAILED: {Problems[0]}{(Problems.Count > 1 ? $" (and {Problems.Count - 1} more)" : "")}";

    private long Verified =>
        Rows.Sum(row => row.Verified) + Comparisons.Sum(row => row.Verified) + Sweeps.Sum(sweep => sweep.Verified);

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
    public int Queues { get; init; }
    public int Threads { get; init; }
    public required string Grants { get; init; }
    public int Indirect { get; init; }
    public int PollWindowUs { get; init; }
    public long Iops { get; init; }
    public long BytesPerSecond { get; init; }
    public int SectorBytes { get; init; }
    public string? Compare { get; init; }
    public required string Disk { get; init; }
    public required string Cache { get; init; }
    public required string Io { get; init; }
    public int Processes { get; init; }
    public ulong Seed { get; init; }

    public static DemoOptionsReport From(DemoOptions options) =>
        new()
        {
            Image = options.Image,
            Write = options.Write,
            Seconds = options.Seconds,
            Abis = [.. options.Protocols.Select(DemoOptions.NameOf)],
            IoDepths = options.Depths,
            RingPages = options.RingPages,
            Queues = options.Features.Queues,
            Threads = options.Features.Threads,
            Grants = options.Features.Grants switch
            {
                GrantMode.Map => "map",
                GrantMode.Persistent => "persistent",
                _ => "copy",
            },
            Indirect = options.Features.Indirect,
            PollWindowUs = options.Features.PollWindowUs,
            Iops = options.Features.Iops,
            BytesPerSecond = options.Features.BytesPerSecond,
            SectorBytes = options.Features.SectorBytes,
            Compare = options.Compare,
            Disk = options.Disk == DiskKind.Memory ? "memory" : "file",
            Cache = options.Cache switch
            {
                CacheMode.Direct => "direct",
                CacheMode.Writeback => "buffered",
                _ => "auto",
            },
            Io = options.Io switch
            {
                IoEngine.IoUring => "io_uring",
                IoEngine.Sync => "sync",
                _ => "auto",
            },
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

    /// <summary>10^6 bytes per second.</summary>
    public double MegabytesPerSecond { get; init; }
    public double P50Us { get; init; }
    public double P99Us { get; init; }
    public double P999Us { get; init; }
    public long Verified { get; init; }
    public long Errors { get; init; }
    public long WrongSectors { get; init; }
    public long AllocatedBytes { get; init; }
    public int Collections { get; init; }

    public static DemoRow From(string abi, int depth, DemoMeasurement measurement)
    {
        PhaseResult result = measurement.Result;
        return new DemoRow
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
            AllocatedBytes = measurement.AllocatedBytes,
            Collections = measurement.Collections,
        };
    }
}

/// <summary>
/// One feature in one ABI, with and without it. Each figure is the median of several runs, which alternate between the
/// two sides.
/// </summary>
internal sealed record DemoComparisonRow
{
    public required string Feature { get; init; }
    public required string Abi { get; init; }
    public required string With { get; init; }
    public required string Without { get; init; }

    /// <summary>The number of requests in flight on all rings together.</summary>
    public int IoDepth { get; init; }

    /// <summary>The unit of the rates: requests per second, or MB per second (10^6 bytes).</summary>
    public required string Unit { get; init; }
    public double RateWith { get; init; }
    public double RateWithout { get; init; }

    /// <summary>The median ratio of the rates, pair by pair.</summary>
    public double Ratio { get; init; }
    public double RatioMin { get; init; }
    public double RatioMax { get; init; }
    public double P50UsWith { get; init; }
    public double P50UsWithout { get; init; }
    public double P99UsWith { get; init; }
    public double P99UsWithout { get; init; }
    public long Verified { get; init; }
    public long AllocatedBytes { get; init; }
    public int Collections { get; init; }

    public static DemoComparisonRow From(
        FeatureTrial trial,
        string abi,
        int depth,
        IReadOnlyList<DemoMeasurement> with,
        IReadOnlyList<DemoMeasurement> without
    )
    {
        double[] ratios = [.. with.Zip(without, (on, off) => Rate(trial, on) / Rate(trial, off))];
        DemoMeasurement[] all = [.. with, .. without];
        return new DemoComparisonRow
        {
            Feature = trial.Name,
            Abi = abi,
            With = trial.With,
            Without = trial.Without,
            IoDepth = depth,
            Unit = trial.LongRequests ? "MB/s" : "IOPS",
            RateWith = Median(with.Select(on => Rate(trial, on))),
            RateWithout = Median(without.Select(off => Rate(trial, off))),
            Ratio = Median(ratios),
            RatioMin = ratios.DefaultIfEmpty().Min(),
            RatioMax = ratios.DefaultIfEmpty().Max(),
            P50UsWith = Median(with.Select(on => on.Result.P50Ns / 1e3)),
            P50UsWithout = Median(without.Select(off => off.Result.P50Ns / 1e3)),
            P99UsWith = Median(with.Select(on => on.Result.P99Ns / 1e3)),
            P99UsWithout = Median(without.Select(off => off.Result.P99Ns / 1e3)),
            Verified = all.Sum(measurement => measurement.Result.Verified),
            AllocatedBytes = all.Sum(measurement => measurement.AllocatedBytes),
            Collections = all.Sum(measurement => measurement.Collections),
        };
    }

    private static double Rate(FeatureTrial trial, DemoMeasurement measurement) =>
        (trial.LongRequests ? measurement.Result.Bytes / 1e6 : measurement.Result.Operations)
        / measurement.Result.Seconds;

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length == 0 ? 0 : (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}

/// <summary>Every sector that was written, read back through one ABI.</summary>
internal sealed record DemoSweep
{
    public required string Abi { get; init; }
    public double Seconds { get; init; }
    public long Bytes { get; init; }

    /// <summary>The number of requests of which every byte was compared.</summary>
    public long Verified { get; init; }
    public long Errors { get; init; }
    public long WrongSectors { get; init; }

    public static DemoSweep From(string abi, PhaseResult result) =>
        new()
        {
            Abi = abi,
            Seconds = result.Seconds,
            Bytes = result.Bytes,
            Verified = result.Verified,
            Errors = result.Errors,
            WrongSectors = result.WrongSectors,
        };
}
