using System.Diagnostics;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Vbds;
using Blkring.Interop;
using Blkring.Loopback;

namespace Blkring.Load;

/// <summary>
/// One run of random reads or writes of whole pages through a whole loopback device: ring, grants, disk, event channel.
/// </summary>
internal static class DiskLoad
{
    public sealed record Options
    {
        public required string Image { get; init; }
        public bool Write { get; init; }

        /// <summary>The number of pages per request; more than 11 make it INDIRECT.</summary>
        public int Pages { get; init; } = 1;
        public GrantMode GrantMode { get; init; }
        public int Depth { get; init; } = 32;
        public double Seconds { get; init; } = 3;
        public BlkifProtocol Protocol { get; init; } = BlkifProtocol.X86_64;
        public int RingPages { get; init; } = 1;
        public int? BackendCpu { get; init; }
        public int? FrontendCpu { get; init; }

        /// <summary>
        /// Whether the frontend polls for responses without ever sleeping, so that its own wake-ups are not measured.
        /// </summary>
        public bool FrontendPolls { get; init; }
        public bool UseIoUring { get; init; } = true;

        /// <summary>The window of <see cref="ReactorOptions.PollWindow"/>; null for its default.</summary>
        public TimeSpan? PollWindow { get; init; }
        public CacheMode Cache { get; init; } = CacheMode.None;
        public ulong Seed { get; init; } = 1;
    }

    public sealed record Result(
        double Seconds,
        long Requests,
        long P50Ns,
        long P99Ns,
        long AllocatedBytes,
        int Collections,
        double EntersPerRequest,
        double NotificationsPerRequest,
        double BatchSize,
        string Disk,
        string Engine
    )
    {
        public double PerSecond => Requests / Seconds;
    }

    public static Result Run(Options options)
    {
        using FileDisk disk = FileDisk.Open(
            options.Image,
            new FileDiskOptions { Writable = options.Write, Cache = options.Cache }
        );
        ReactorOptions standard = new();
        using Reactor reactor = new(
            new ReactorOptions
            {
                Cpu = options.BackendCpu,
                UseIoUring = options.UseIoUring,
                PollWindow = options.PollWindow ?? standard.PollWindow,
            }
        );
        using LoopbackDomain domain = Frontend.CreateDomain(
            new DomainId(1),
            options.RingPages,
            segments: Math.Max(options.Pages, Blkif.MaxSegmentsPerRequest)
        );
        Frontend frontend = Frontend.Create(
            domain,
            options.Protocol,
            options.RingPages,
            segments: Math.Max(options.Pages, Blkif.MaxSegmentsPerRequest)
        );
        frontend.PersistentGrants = options.GrantMode == GrantMode.Persistent;
        // Room for all of the frontend's pages: evictions are not measured here.
        using Vbd vbd = new(
            disk,
            reactor,
            new VbdOptions
            {
                GrantMode = options.GrantMode,
                MaxPersistentGrants = frontend.EntryCount * frontend.SegmentsPerRequest,
            }
        );
        vbd.Connect(frontend.Connection, new LoopbackHypervisor(domain));
        if (options.FrontendCpu is { } cpu)
            CpuAffinity.PinCurrentThread(cpu);

        GuestLoad load = new(
            frontend,
            disk.CapacitySectors,
            new GuestLoadOptions
            {
                Write = options.Write,
                Depth = options.Depth,
                Pages = options.Pages,
                Polls = options.FrontendPolls,
                Seed = options.Seed,
            }
        );
        load.Run(Math.Min(1, options.Seconds), new LatencyHistogram());

        QueueStatistics statistics = vbd.Queue!.Statistics;
        (long bytes, int collections, ulong enters, long notifications, long passes, long taken) = (
            reactor.AllocatedBytes,
            GC.CollectionCount(0),
            reactor.EnterCount,
            statistics.Notifications,
            statistics.BatchSize.Count,
            statistics.BatchSize.Sum
        );
        LatencyHistogram latency = new();
        long start = Stopwatch.GetTimestamp();
        long requests = load.Run(options.Seconds, latency);
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return new Result(
            seconds,
            requests,
            latency.ValueAt(0.5),
            latency.ValueAt(0.99),
            reactor.AllocatedBytes - bytes,
            GC.CollectionCount(0) - collections,
            (double)(reactor.EnterCount - enters) / requests,
            (double)(statistics.Notifications - notifications) / requests,
            (double)(statistics.BatchSize.Sum - taken) / Math.Max(1, statistics.BatchSize.Count - passes),
            disk.Describe(),
            reactor.Describe()
        );
    }
}
