using System.CommandLine;
using System.Globalization;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Reactors;
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
            if (parsed.GetValue(json))
                PrintJson(result);
            else
                Console.WriteLine(result);
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
        BesideRatio Ratio
    )
    {
        public bool Holds => Problem is null && Ratio.Holds;

        public override string ToString() =>
            string.Create(
                CultureInfo.InvariantCulture,
                $"""
                hostile guest      {Fuzzed:N0} requests posted, {Answered:N0} answered, {Served:N0} of them served
                its neighbour      {Verified:N0} verified requests, {Problem ?? "all data right"}
                p99 alone, beside  {Ratio.AloneP99Us:F1} us, {Ratio.BesideP99Us:F1} us
                ratio              {Ratio.Median:F2} (A/A {Ratio.Spread}; {(
                    Ratio.Holds ? "ok" : "MISSED"
                )}, at most {Target:F1})
                """
            );
    }

    private static Result Measure(long requests, double seconds, int rounds, int cpu)
    {
        int other = CommonOptions.OtherThan(cpu);
        using Reactor reactor = new(new ReactorOptions { Cpu = cpu });
        using Neighbour neighbour = new(reactor);
        using HostileGuest served = new(2, reactor, other),
            unserved = new(3, reactor: null, other);
        CpuAffinity.PinCurrentThread(other);
        BesideRatio ratio = new(Target);
        for (int round = 0; round < rounds; round++)
        {
            // The same thread is busy in each measurement, so that the guests have the same processor time.
            ratio.AddAlone(unserved.While(() => neighbour.P99(seconds)), unserved.While(() => neighbour.P99(seconds)));
            ratio.AddBeside(served.While(() => neighbour.P99(seconds)));
        }
        long verified = 0;
        string? problem = null;
        while (served.Posted < requests && problem is null)
            verified += served.While(() => neighbour.Verify(out problem));
        return new Result(served.Posted, served.Answered, served.Served, verified, problem ?? neighbour.Sweep(), ratio);
    }

    private sealed class Neighbour : LoadedGuest
    {
        private readonly VerifiedWorkload _verified;

        public Neighbour(Reactor reactor)
            : base(new MemoryDisk(Sectors), reactor, domain: 1, new GuestLoadOptions { Depth = 4 })
        {
            _verified = new VerifiedWorkload(
                Frontend,
                new WorkloadOptions
                {
                    Sectors = Sectors,
                    Model = new SectorModel(Sectors, seed: 1),
                    Barrier = true,
                }
            );
        }

        /// <summary>Of reads only, which change nothing that <see cref="Verify"/> knows.</summary>
        public double P99(double seconds) => Run(seconds).ValueAt(0.99);

        public long Verify(out string? problem)
        {
            WorkloadResult result = _verified.Run(8, TimeSpan.FromSeconds(1));
            problem = ProblemOf(result);
            return result.Operations;
        }

        public string? Sweep() => ProblemOf(_verified.Sweep());

        private static string? ProblemOf(WorkloadResult result) =>
            result.IsRight ? null : result.FirstProblem ?? $"{result.WrongSectors} sectors wrong";
    }

    /// <summary>A guest whose thread posts random requests and then writes random bytes over them.</summary>
    private sealed unsafe class HostileGuest : LoadedGuest
    {
        private const int ScribblesPerPost = 64;

        private readonly Thread _thread;
        private readonly ManualResetEventSlim _go = new();
        private readonly Random _random = new(4711);
        private readonly int _cpu;
        private volatile bool _ends;
        private long _posted;

        /// <param name="reactor">Null: nobody serves the ring.</param>
        public HostileGuest(ushort domain, Reactor? reactor, int cpu)
            : base(new MemoryDisk(Sectors), reactor, domain, new GuestLoadOptions())
        {
            _cpu = cpu;
            // With the ring's own grant a READ would overwrite the indices, and the queue would stop for good.
            foreach (GrantReference reference in Frontend.RingReferences)
                Revoke(reference);
            _thread = new Thread(Run) { IsBackground = true };
            _thread.Start();
        }

        public long Posted => Volatile.Read(ref _posted);

        public long Answered => Vbd?.Queue?.Statistics.Answered ?? 0;

        public long Served =>
            Vbd?.Queue is { } queue ? queue.Statistics.Read.Operations + queue.Statistics.Write.Operations : 0;

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

        public override void Dispose()
        {
            _ends = true;
            _go.Set();
            _thread.Join();
            base.Dispose();
            _go.Dispose();
        }

        private void Run()
        {
            CpuAffinity.PinCurrentThread(_cpu);
            byte* ring = (byte*)Frontend.Sring;
            Blkif.DecodedResponse response = default;
            while (!_ends)
            {
                _go.Wait();
                while (Frontend.TryTake(ref response)) { }
                int posted = 0;
                for (; Frontend.FreeRequests > 0; posted++)
                {
                    Blkif.DecodedRequest request = Next();
                    Frontend.Put(in request);
                }
                if (posted > 0)
                    Frontend.Push();
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
            int number = _random.Next(Frontend.EntryCount);
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
                    _random.Next(8) == 0 ? (uint)_random.Next() : Frontend.GrantOf(number, i, readOnly: false).Value;
                request.Seg[i].FirstSect = (byte)_random.Next(3);
                request.Seg[i].LastSect = (byte)_random.Next(9);
            }
            return request;
        }
    }

    private static void PrintJson(Result result) =>
        Output.PrintJson(writer =>
        {
            writer.WriteNumber("fuzzed", result.Fuzzed);
            writer.WriteNumber("answered", result.Answered);
            writer.WriteNumber("served", result.Served);
            writer.WriteNumber("verified", result.Verified);
            writer.WriteString("problem", result.Problem);
            result.Ratio.WriteTo(writer);
            writer.WriteBoolean("holds", result.Holds);
        });
}
