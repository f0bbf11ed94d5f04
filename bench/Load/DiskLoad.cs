using System.Diagnostics;
using Blkring.Abi;
using Blkring.Engine;
using Blkring.Engine.Loopback;
using Blkring.Interop;

namespace Blkring.Load;

/// <summary>Random one-page reads or writes through a whole loopback device: ring, grant copies, disk, event channel.</summary>
internal static unsafe class DiskLoad
{
    public sealed record Options
    {
        public required string Image { get; init; }
        public bool Write { get; init; }
        public int Depth { get; init; } = 32;
        public double Seconds { get; init; } = 3;
        public BlkifProtocol Protocol { get; init; } = BlkifProtocol.X86_64;
        public int RingPages { get; init; } = 1;
        public int? BackendCpu { get; init; }
        public int? FrontendCpu { get; init; }
        /// <summary>The frontend looks for responses without ever sleeping, so that no wake-up of its own is measured.</summary>
        public bool FrontendPolls { get; init; }
        public bool UseIoUring { get; init; } = true;
        public CacheMode Cache { get; init; } = CacheMode.Auto;
        public ulong Seed { get; init; } = 1;
    }

    public sealed record Result(
        double Seconds, long Requests, long P50Ns, long P99Ns, long AllocatedBytes, int Collections, double EntersPerRequest,
        double NotificationsPerRequest, double BatchSize, string Disk, string Engine)
    {
        public double PerSecond => Requests / Seconds;
    }

    public static Result Run(Options options)
    {
        using FileDisk disk = FileDisk.Open(options.Image, new FileDiskOptions { Writable = options.Write, Cache = options.Cache });
        using Reactor reactor = new(new ReactorOptions { Cpu = options.BackendCpu, UseIoUring = options.UseIoUring });
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(1), options.RingPages);
        Frontend frontend = Frontend.Create(domain, options.Protocol, options.RingPages);
        using Vbd vbd = new(disk, reactor);
        vbd.Connect(frontend.Connection, LoopbackRingAccess.For(domain));
        if (options.FrontendCpu is { } cpu) CpuAffinity.PinCurrentThread(cpu);

        Load load = new(frontend, disk.CapacitySectors, options);
        load.Run(Math.Min(1, options.Seconds), new LatencyHistogram());

        QueueStatistics statistics = vbd.Queue!.Statistics;
        (long bytes, int collections, ulong enters, long notifications, long passes, long taken) =
            (reactor.AllocatedBytes, GC.CollectionCount(0), reactor.EnterCount, statistics.Notifications, statistics.BatchSize.Count, statistics.BatchSize.Sum);
        LatencyHistogram latency = new();
        long start = Stopwatch.GetTimestamp();
        long requests = load.Run(options.Seconds, latency);
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return new Result(
            seconds, requests, latency.ValueAt(0.5), latency.ValueAt(0.99), reactor.AllocatedBytes - bytes, GC.CollectionCount(0) - collections,
            (double)(reactor.EnterCount - enters) / requests, (double)(statistics.Notifications - notifications) / requests,
            (double)(statistics.BatchSize.Sum - taken) / Math.Max(1, statistics.BatchSize.Count - passes), disk.Describe(), reactor.Describe());
    }

    private sealed class Load(Frontend frontend, long sectors, Options options)
    {
        private readonly long[] _postedAt = new long[frontend.EntryCount];
        private readonly int[] _idle = [.. Enumerable.Range(0, Math.Clamp(options.Depth, 1, frontend.EntryCount))];
        private readonly int _depth = Math.Clamp(options.Depth, 1, frontend.EntryCount);
        private WorkloadRandom _random = new(options.Seed);

        public long Run(double seconds, LatencyHistogram latency)
        {
            Blkif.DecodedRequest request = default;
            Blkif.DecodedResponse response = default;
            request.Operation = (byte)(options.Write ? Blkif.OpWrite : Blkif.OpRead);
            request.NrSegments = 1;
            request.Seg[0].LastSect = RequestValidator.SectorsPerPage - 1;
            ulong pages = (ulong)sectors / RequestValidator.SectorsPerPage;

            int idle = _depth;
            long answered = 0;
            long now = Stopwatch.GetTimestamp(), end = now + (long)(seconds * Stopwatch.Frequency);
            while (now < end || idle < _depth)
            {
                while (idle > 0 && now < end)
                {
                    int slot = _idle[--idle];
                    request.Id = (ulong)slot;
                    request.SectorNumber = (_random.Next() >> 8) % pages * RequestValidator.SectorsPerPage;
                    request.Seg[0].Gref = frontend.GrantOf(slot, 0, options.Write).Value;
                    _postedAt[slot] = now;
                    frontend.Put(in request);
                }
                frontend.Push();
                while (true)
                {
                    bool any = false;
                    while (frontend.TryTake(ref response))
                    {
                        if (!any) now = Stopwatch.GetTimestamp();
                        any = true;
                        if (response.Status != Blkif.RspOkay) throw new InvalidOperationException($"request {response.Id}: status {response.Status}");
                        _idle[idle++] = (int)response.Id;
                        latency.Record(now - _postedAt[response.Id]);
                        answered++;
                    }
                    if (any) break;
                    if (options.FrontendPolls) continue;
                    if (frontend.FinalCheckForResponses()) continue;
                    if (!frontend.WaitForEvent(10_000)) throw new InvalidOperationException("the backend stopped answering");
                }
            }
            return answered;
        }
    }
}
