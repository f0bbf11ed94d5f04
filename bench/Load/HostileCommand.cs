using System.CommandLine;
using System.Globalization;
using System.Text.Json;
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
/// A guest that posts random requests and changes them while they are read, beside a well-behaved guest on the same
/// thread: the latter's latency, and whether its data stays right.
/// </summary>
internal static class HostileCommand
{
    /// <summary>The greatest ratio of p99 that is acceptable.</summary>
    private const double Target = 1.5;

    private const long Sectors = 1 << 14;

    public static Command Create()
    {
        Option<long> requests = new("--requests")
        {
            Description = "Requests that the hostile guest posts in all",
            HelpName = "N",
            DefaultValueFactory = _ => 10_000_000,
        };
        Option<double> seconds = CommonOptions.Seconds(1);
        Option<int> rounds = CommonOptions.Rounds("Number of measurements alone, alone again and beside, in turn");
        Option<int> cpu = CommonOptions.Cpu();
        Option<bool> json = CommonOptions.Json();
        Command command = new("hostile", "A well-behaved guest beside one that posts random requests, on one thread")
        {
            requests,
            seconds,
            rounds,
            cpu,
            json,
        };
        command.SetAction(parsed =>
        {
            Result result = Measure(
                parsed.GetValue(requests),
                parsed.GetValue(seconds),
                parsed.GetValue(rounds),
                parsed.GetValue(cpu)
            );
            Console.WriteLine(parsed.GetValue(json) ? ToJson(result) : result.ToString());
            return result.Holds ? 0 : 1;
        });
        return command;
    }

    private sealed record Result(
        long Fuzzed,
        long Answered,
        long Served,
        long Verified,
        string? Problem,
        double AloneP99Us,
        double BesideP99Us,
        double RatioP99,
        double LeastAloneRatio,
        double MostAloneRatio
    )
    {
        public bool Holds => Problem is null && RatioP99 <= Target;

        public override string ToString() =>
            string.Create(
                CultureInfo.InvariantCulture,
                $"""
                hostile guest      {Fuzzed:N0} requests posted, {Answered:N0} answered, {Served:N0} of them served
                its neighbour      {Verified:N0} verified requests, {Problem ?? "all data right"}
                p99 alone, beside  {AloneP99Us:F1} us, {BesideP99Us:F1} us
                ratio              {RatioP99:F2} (A/A {LeastAloneRatio:F2} to {MostAloneRatio:F2}; {(
                    RatioP99 <= Target ? "ok" : "MISSED"
                )}, at most {Target:F1})
                """
            );
    }

    private static Result Measure(long requests, double seconds, int rounds, int cpu)
    {
        int other = CpuAffinity.Allowed().FirstOrDefault(candidate => candidate != cpu, cpu);
        using Reactor reactor = new(new ReactorOptions { Cpu = cpu });
        using Neighbour neighbour = new(reactor);
        using HostileGuest served = new(2, reactor, other),
            unserved = new(3, reactor: null, other);
        CpuAffinity.PinCurrentThread(other);
        List<double> alone = [],
            again = [],
            beside = [];
        for (int round = 0; round < rounds; round++)
        {
            // The same thread is busy in each measurement, so that the guests have the same processor time.
            alone.Add(unserved.While(() => neighbour.P99(seconds)));
            again.Add(unserved.While(() => neighbour.P99(seconds)));
            beside.Add(served.While(() => neighbour.P99(seconds)));
        }
        long verified = 0;
        string? problem = null;
        while (served.Posted < requests && problem is null)
            verified += served.While(() => neighbour.Verify(out problem));
        return new Result(
            served.Posted,
            served.Answered,
            served.Served,
            verified,
            problem ?? neighbour.Sweep(),
            Comparison.Median(alone) / 1e3,
            Comparison.Median(beside) / 1e3,
            Comparison.Median(alone.Zip(beside, (a, b) => b / a)),
            alone.Zip(again, (a, b) => b / a).Min(),
            alone.Zip(again, (a, b) => b / a).Max()
        );
    }

    private sealed class Neighbour : IDisposable
    {
        private readonly LoopbackDomain _domain = Frontend.CreateDomain(new DomainId(1), ringPages: 1);
        private readonly MemoryDisk _disk = new(Sectors);
        private readonly Frontend _frontend;
        private readonly Vbd _vbd;
        private readonly VerifiedWorkload _verified;

        public Neighbour(Reactor reactor)
        {
            _frontend = Frontend.Create(_domain, BlkifProtocol.X86_64, ringPages: 1);
            _vbd = new Vbd(_disk, reactor);
            _vbd.Connect(_frontend.Connection, new LoopbackHypervisor(_domain));
            _verified = new VerifiedWorkload(
                _frontend,
                new WorkloadOptions
                {
                    Sectors = Sectors,
                    Model = new SectorModel(Sectors, seed: 1),
                    Barrier = true,
                }
            );
        }

        /// <summary>Of reads only, which change nothing that <see cref="Verify"/> knows.</summary>
        public double P99(double seconds)
        {
            LatencyHistogram latency = new();
            new GuestLoad(_frontend, Sectors, new GuestLoadOptions { Depth = 4 }).Run(seconds, latency);
            return latency.ValueAt(0.99);
        }

        public long Verify(out string? problem)
        {
            WorkloadResult result = _verified.Run(8, TimeSpan.FromSeconds(1));
            problem = ProblemOf(result);
            return result.Operations;
        }

        public string? Sweep() => ProblemOf(_verified.Sweep());

        public void Dispose()
        {
            _vbd.Dispose();
            _domain.Dispose();
            _disk.Dispose();
        }

        private static string? ProblemOf(WorkloadResult result) =>
            result.IsRight ? null : result.FirstProblem ?? $"{result.WrongSectors} sectors wrong";
    }

    /// <summary>A guest whose thread posts random requests and then writes random bytes over them.</summary>
    private sealed unsafe class HostileGuest : IDisposable
    {
        private const int ScribblesPerPost = 64;

        private readonly LoopbackDomain _domain;
        private readonly MemoryDisk _disk = new(Sectors);
        private readonly Frontend _frontend;
        private readonly Vbd? _vbd;
        private readonly Thread _thread;
        private readonly ManualResetEventSlim _go = new();
        private readonly Random _random = new(4711);
        private readonly int _cpu;
        private volatile bool _ends;
        private long _posted;

        /// <param name="reactor">Null: nobody serves the ring.</param>
        public HostileGuest(ushort domain, Reactor? reactor, int cpu)
        {
            _cpu = cpu;
            _domain = Frontend.CreateDomain(new DomainId(domain), ringPages: 1);
            _frontend = Frontend.Create(_domain, BlkifProtocol.X86_64, ringPages: 1);
            if (reactor is not null)
            {
                _vbd = new Vbd(_disk, reactor);
                _vbd.Connect(_frontend.Connection, new LoopbackHypervisor(_domain));
            }
            // With the ring's own grant a READ would overwrite the indices, and the queue would stop for good.
            foreach (GrantReference reference in _frontend.RingReferences)
                _domain.Revoke(reference);
            _thread = new Thread(Run) { IsBackground = true };
            _thread.Start();
        }

        public long Posted => Volatile.Read(ref _posted);

        public long Answered => _vbd?.Queue?.Statistics.Answered ?? 0;

        public long Served =>
            _vbd?.Queue is { } queue ? queue.Statistics.Read.Operations + queue.Statistics.Write.Operations : 0;

        public T While<T>(Func<T> action)
        {
            _go.Set();
            try
            {
                return action();
            }
            finally
            {
                _go.Reset();
            }
        }

        public void Dispose()
        {
            _ends = true;
            _go.Set();
            _thread.Join();
            _vbd?.Dispose();
            _domain.Dispose();
            _disk.Dispose();
            _go.Dispose();
        }

        private void Run()
        {
            CpuAffinity.PinCurrentThread(_cpu);
            byte* ring = (byte*)_frontend.Sring;
            Blkif.DecodedResponse response = default;
            while (!_ends)
            {
                _go.Wait();
                while (_frontend.TryTake(ref response)) { }
                int posted = 0;
                for (; _frontend.FreeRequests > 0; posted++)
                {
                    Blkif.DecodedRequest request = Next();
                    _frontend.Put(in request);
                }
                if (posted > 0)
                    _frontend.Push();
                Volatile.Write(ref _posted, _posted + posted);
                // The backend reads them now. The indices stay: a queue with impossible ones would stop.
                for (int i = 0; i < ScribblesPerPost; i++)
                    ring[_random.Next(sizeof(Blkif.Sring), GuestMemory.PageBytes)] = (byte)(
                        _random.Next(2) == 0 ? _random.Next(12) : _random.Next(256)
                    );
            }
        }

        private Blkif.DecodedRequest Next()
        {
            int number = _random.Next(_frontend.EntryCount);
            Blkif.DecodedRequest request = new()
            {
                Id = (ulong)_random.NextInt64(),
                Operation = (byte)_random.Next(8),
                NrSegments = (ushort)_random.Next(13),
                SectorNumber = _random.Next(8) == 0 ? (ulong)_random.NextInt64() : (ulong)_random.Next((int)Sectors),
                NrSectors = (ulong)_random.Next((int)Sectors),
            };
            for (int i = 0; i < Math.Min((int)request.NrSegments, Blkif.MaxSegmentsPerRequest); i++)
            {
                request.Seg[i].Gref =
                    _random.Next(8) == 0 ? (uint)_random.Next() : _frontend.GrantOf(number, i, readOnly: false).Value;
                request.Seg[i].FirstSect = (byte)_random.Next(3);
                request.Seg[i].LastSect = (byte)_random.Next(9);
            }
            return request;
        }
    }

    private static string ToJson(Result result)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter writer = new(stream, new JsonWriterOptions { Indented = true }))
        {
            writer.WriteStartObject();
            writer.WriteNumber("processors", Environment.ProcessorCount);
            writer.WriteNumber("fuzzed", result.Fuzzed);
            writer.WriteNumber("answered", result.Answered);
            writer.WriteNumber("served", result.Served);
            writer.WriteNumber("verified", result.Verified);
            writer.WriteString("problem", result.Problem);
            writer.WriteNumber("aloneP99Us", result.AloneP99Us);
            writer.WriteNumber("besideP99Us", result.BesideP99Us);
            writer.WriteNumber("ratioP99", result.RatioP99);
            writer.WriteNumber("leastAloneRatio", result.LeastAloneRatio);
            writer.WriteNumber("mostAloneRatio", result.MostAloneRatio);
            writer.WriteNumber("target", Target);
            writer.WriteBoolean("holds", result.Holds);
            writer.WriteEndObject();
        }
        return System.Text.Encoding.UTF8.GetString(stream.ToArray());
    }
}
