using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Tests.Kit;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Queues;

/// <summary>B4, and all that a guest can do to a ring: it can break its own device, and nothing else.</summary>
public sealed unsafe class HostileRingTests
{
    // Distances from the last index that an honest frontend could show.
    public static TheoryData<BlkifProtocol, uint, int> ProducersThatCannotBe()
    {
        TheoryData<BlkifProtocol, uint, int> rows = [];
        foreach (BlkifProtocol protocol in Enum.GetValues<BlkifProtocol>())
        foreach (int inFlight in (int[])[0, 3, 32])
        foreach (uint distance in (uint[])[1, 1u << 31, uint.MaxValue - 32])
            rows.Add(protocol, distance, inFlight);
        return rows;
    }

    [Theory, MemberData(nameof(ProducersThatCannotBe))]
    [Proves("B4")]
    public void A_producer_more_than_a_ring_ahead_stops_the_queue_for_good_and_is_reported_once(
        BlkifProtocol protocol,
        uint distance,
        int inFlight
    )
    {
        using Rig rig = new(protocol);
        for (int i = 0; i < inFlight; i++)
            rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        rig.PushAndRun();

        // The last honest index is a ring past the responses. uint.MaxValue - 32 past that is one before the responses:
        // the index went backwards.
        rig.Frontend.SharedRequestProducer = 32 + distance;
        rig.Run();
        rig.Run();
        Assert.True(rig.Queue.IsBroken);
        Fault fault = Assert.Single(rig.Faults());
        Assert.Equal(FaultKind.BrokenRing, fault.Kind);
        Assert.Equal((32 + distance, (uint)inFlight), (fault.RequestProducer, fault.RequestConsumer));
        Assert.Equal(inFlight, rig.Disk.Started.Length);

        // Requests taken before are answered, each with its own id.
        rig.FinishDisk();
        Assert.Equal((uint)inFlight, rig.Frontend.Header.RspProd);
        Assert.Equal(inFlight, rig.Statistics.Read.Operations);

        // A possible index afterwards changes nothing.
        rig.Frontend.SharedRequestProducer = (uint)inFlight + 1;
        Assert.False(rig.Queue.FinalCheckForRequests());
        rig.Run();
        Assert.True(rig.Queue.IsBroken);
        Assert.Equal(inFlight, rig.Disk.Started.Length);
        Assert.Empty(rig.Faults());
    }

    [Theory, EveryAbi]
    [Proves("B4")]
    public void A_full_ring_is_no_overflow(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        for (int i = 0; i < 32; i++)
            rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        rig.PushAndRun();
        Assert.False(rig.Queue.IsBroken);
        Assert.Equal(32, rig.Queue.InFlight);
        rig.FinishDisk();
        Assert.Equal(32, rig.Responses().Count);
    }

    [Theory, EveryAbi]
    [Proves("B4")]
    public void A_broken_ring_leaves_the_other_devices_of_its_reactor_alone(BlkifProtocol protocol)
    {
        using Reactor reactor = new();
        using Device hostile = new(reactor, protocol, new NullDisk(4096));
        using Device honest = new(reactor, protocol, new MemoryDisk(4096));

        hostile.Frontend.SharedRequestProducer = 1u << 31;
        hostile.Frontend.Notify();
        Wait.Until(() => hostile.Queue.IsBroken, "the queue to notice the broken ring");

        WorkloadResult result = honest.Work(TimeSpan.FromMilliseconds(50));
        Assert.True(result.IsRight, result.FirstProblem);
        Assert.True(result.Operations > 0);
        Assert.True(hostile.Vbd.Stop(Wait.Limit));
    }

    [Theory, EveryAbi]
    [Proves("B3")]
    public void A_guest_that_scribbles_over_the_entries_gets_one_answer_a_request_and_nothing_outside_its_disk(
        BlkifProtocol protocol
    )
    {
        using Rig rig = new(protocol);
        rig.Disk.Synchronous();
        // A random reference may name any grant. With the ring's own grant a READ would overwrite the indices.
        foreach (GrantReference reference in rig.Frontend.RingReferences)
            rig.Domain.Revoke(reference);
        using Scribbler scribbler = new(rig.Frontend, firstByte: sizeof(Blkif.Sring), protocol);
        uint posted = 0;
        for (int round = 0; round < 3000; round++)
        {
            for (uint free = rig.Frontend.FreeRequests; free > 0; free--, posted++)
                rig.Put(MostlyValid(rig, posted));
            rig.PushAndRun();
            rig.Responses();
        }
        Assert.False(rig.Queue.IsBroken);
        Assert.Equal(posted, rig.Frontend.Header.RspProd);
        Assert.Equal(posted, rig.Statistics.Answered);
        // Some requests succeeded and some failed; otherwise the random writes did not reach them.
        Assert.True(rig.Statistics.Read.Operations + rig.Statistics.Write.Operations > 0);
        Assert.True(rig.Statistics.Other.Invalid > 0);
    }

    [Theory, EveryAbi]
    [Proves("B4")]
    public void A_guest_that_scribbles_over_the_indices_too_breaks_at_most_its_own_queue(BlkifProtocol protocol)
    {
        for (int guest = 0; guest < 10; guest++)
        {
            using Rig rig = new(protocol);
            rig.Disk.Synchronous();
            using Scribbler scribbler = new(rig.Frontend, firstByte: 0, protocol, seed: guest + 1);
            Wait.Until(() => TurnAndCheck(rig), "the scribbler to write an index that cannot be");
            Assert.Single(rig.Faults(), fault => fault.Kind == FaultKind.BrokenRing);
        }

        static bool TurnAndCheck(Rig rig)
        {
            for (int turn = 0; turn < 1000 && !rig.Queue.IsBroken; turn++)
            {
                if (turn % 3 == 0)
                    rig.Frontend.SharedRequestProducer = (uint)rig.Statistics.Answered + ((uint)turn % 33);
                rig.Queue.RunPass();
                rig.Queue.FinalCheckForRequests();
                // Every request taken is answered or in flight: there is no response without a request.
                Assert.Equal(rig.Statistics.BatchSize.Sum, rig.Statistics.Answered + rig.Queue.InFlight);
                Assert.InRange(rig.Queue.InFlight, 0, rig.Frontend.EntryCount);
            }
            return rig.Queue.IsBroken;
        }
    }

    private static Blkif.DecodedRequest MostlyValid(Rig rig, uint number)
    {
        int segments = (int)(number % 11) + 1;
        return rig.Request((int)(number % 4), number * 37 % 4000, Requests.Pages(segments));
    }

    /// <summary>A guest's second processor, which writes random bytes all over the shared ring page.</summary>
    private sealed class Scribbler : IDisposable
    {
        private readonly Thread _thread;
        private volatile bool _stop;

        public Scribbler(Frontend frontend, int firstByte, BlkifProtocol protocol, int seed = 1)
        {
            nint ring = (nint)frontend.Sring;
            _thread = new Thread(() =>
            {
                Random random = new(seed + (int)protocol);
                while (!_stop)
                {
                    // Small values now and then, which look like operations, counts and sectors.
                    byte value = (byte)(random.Next(2) == 0 ? random.Next(12) : random.Next(256));
                    *(byte*)(ring + random.Next(firstByte, GuestMemory.PageBytes)) = value;
                }
            })
            {
                IsBackground = true,
            };
            _thread.Start();
        }

        public void Dispose()
        {
            _stop = true;
            _thread.Join();
        }
    }
}
