using System.Globalization;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Memory;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;

namespace Blkring.Commands.Demo.Options;

/// <summary>A feature that is measured on and off, with everything else equal.</summary>
internal sealed record FeatureTrial
{
    public const string All = "all";

    public required string Name { get; init; }
    public required DemoFeatures On { get; init; }
    public required DemoFeatures Off { get; init; }

    /// <summary>The side with the feature, in a few words.</summary>
    public required string With { get; init; }

    /// <summary>The side without it, in a few words.</summary>
    public required string Without { get; init; }

    /// <summary>The number of requests in flight on all rings together.</summary>
    public int Depth { get; init; } = 32;

    /// <summary>
    /// Whether every request is as long as the guest can make it; bytes are then counted instead of requests.
    /// </summary>
    public bool LongRequests { get; init; }

    /// <summary>The names of all trials, and <see cref="All"/>.</summary>
    public static IReadOnlyList<string> Names { get; } =
    [.. Create(new DemoFeatures()).Select(trial => trial.Name), All];

    /// <summary>The trials of that name.</summary>
    /// <param name="given">The values from the command line; a feature that is off there gets a typical value.</param>
    public static IReadOnlyList<FeatureTrial> Named(string name, DemoFeatures given) =>
        [.. Create(given).Where(trial => name == All || trial.Name == name)];

    private static IEnumerable<FeatureTrial> Create(DemoFeatures given)
    {
        int queues = given.Queues > 1 ? given.Queues : 4,
            threads = given.Threads > 1 ? given.Threads : 2;
        int indirect = given.Indirect > 0 ? given.Indirect : 256;
        DemoFeatures spread = given with { Queues = queues, Threads = threads };
        DemoFeatures longest = given with { Indirect = indirect };
        int window = given.PollWindowUs > 0 ? given.PollWindowUs : ReactorSettings.PollWindowMicroseconds.Default;
        long iops = given.Iops > 0 ? given.Iops : 5_000,
            bytes = given.BytesPerSecond > 0 ? given.BytesPerSecond : 50_000_000;
        yield return new FeatureTrial
        {
            Name = "queues",
            On = spread,
            Off = spread with { Queues = 1 },
            With = $"{queues} rings, {threads} threads",
            Without = "1 ring",
        };
        yield return new FeatureTrial
        {
            Name = "threads",
            On = spread,
            Off = spread with { Threads = 1 },
            With = $"{threads} threads, {queues} rings",
            Without = "1 thread",
        };
        yield return new FeatureTrial
        {
            Name = "map",
            On = longest with { Grants = GrantMode.Map },
            Off = longest with { Grants = GrantMode.Copy },
            With = "pages mapped",
            Without = "copied",
            LongRequests = true,
            Depth = 8,
        };
        yield return new FeatureTrial
        {
            Name = "persistent",
            On = longest with { Grants = GrantMode.Persistent },
            Off = longest with { Grants = GrantMode.Copy },
            With = "pages kept mapped",
            Without = "copied",
            LongRequests = true,
            Depth = 8,
        };
        yield return new FeatureTrial
        {
            Name = "indirect",
            On = longest,
            Off = longest with { Indirect = 0 },
            With = $"{indirect} segments",
            Without = $"{Blkif.MaxSegmentsPerRequest} segments",
            LongRequests = true,
            Depth = 8,
        };
        yield return new FeatureTrial
        {
            Name = "poll",
            On = given with { PollWindowUs = window },
            Off = given with { PollWindowUs = 0 },
            With = $"busy polling for {window} µs",
            Without = "no busy polling",
            Depth = 1,
        };
        yield return new FeatureTrial
        {
            Name = "iops",
            On = given with { Iops = iops },
            Off = given with { Iops = 0 },
            Without = "no limit",
            With = string.Create(CultureInfo.InvariantCulture, $"at most {iops:N0}/s"),
        };
        yield return new FeatureTrial
        {
            Name = "bandwidth",
            On = given with { BytesPerSecond = bytes },
            Off = given with { BytesPerSecond = 0 },
            Without = "no limit",
            LongRequests = true,
            With = string.Create(CultureInfo.InvariantCulture, $"at most {bytes / 1e6:N0} MB/s"),
        };
        yield return new FeatureTrial
        {
            Name = "sectors",
            On = given with { SectorBytes = Arena.PageBytes },
            Off = given with { SectorBytes = Disk.SectorBytes },
            With = "4096-byte sectors",
            Without = "512-byte sectors",
        };
    }
}
