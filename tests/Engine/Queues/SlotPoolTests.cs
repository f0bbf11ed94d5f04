using Blkring.Abi;
using Blkring.Engine.Memory;
using Blkring.Engine.Queues;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests.Queues;

/// <summary>
/// B1 and B2: as many requests in flight as the ring has entries, and nothing dropped when there are fewer slots.
/// </summary>
public sealed unsafe class SlotPoolTests
{
    [Theory, EveryAbi(1, 2, 4, 8, 16)]
    [Proves("B1", "F1")]
    public void As_many_requests_are_in_flight_as_the_ring_has_entries(BlkifProtocol protocol, int pages)
    {
        using Rig rig = new(protocol, new RigOptions { RingPages = pages, Sectors = 1 << 16 });
        int entries = 32 * pages;
        Assert.Equal(entries, rig.Frontend.EntryCount);

        for (int round = 0; round < 3; round++)
        {
            for (int i = 0; i < entries; i++)
                rig.Put(rig.Request(Blkif.OpRead, (ulong)(i * 88), Requests.Pages(11)));
            rig.PushAndRun();
            Assert.Equal(entries, rig.Queue.InFlight);
            Assert.Equal(entries, rig.Disk.UnderWay.Length);
            rig.FinishDisk();
            Assert.Equal(entries, rig.Responses().Count(response => response.Status == Blkif.RspOkay));
            Assert.Equal(0, rig.Queue.InFlight);
        }
    }

    [Theory, EveryAbi]
    [Proves("B1")]
    public void A_slot_owns_eleven_pages_of_its_own_that_are_used_again(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, new RigOptions { Sectors = 1 << 16 });
        HashSet<nint>[] rounds =
        [
            [],
            [],
        ];
        foreach (HashSet<nint> buffers in rounds)
        {
            int first = rig.Disk.Started.Length;
            for (int i = 0; i < 32; i++)
                rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(11)));
            rig.PushAndRun();
            foreach (ScriptedOperation operation in rig.Disk.Started[first..])
            {
                Assert.Equal(0, (nint)operation.Buffer % Arena.PageBytes);
                buffers.Add((nint)operation.Buffer);
            }
            rig.FinishDisk();
            rig.Responses();
        }
        Assert.Equal(32, rounds[0].Count);
        Assert.True(rounds[0].SetEquals(rounds[1]), "the second round used other memory than the first");
        // Slots follow each other in one piece of memory.
        Assert.Equal(31 * 11 * Arena.PageBytes, rounds[0].Max() - rounds[0].Min());
    }

    [Theory, EveryAbi(1, 3, 31)]
    [Proves("B2")]
    public void With_fewer_slots_the_rest_waits_on_the_ring_and_nothing_is_dropped(BlkifProtocol protocol, int slots)
    {
        using Rig rig = new(protocol, new RigOptions { MaxInFlight = slots });
        HashSet<ulong> posted = [];
        for (int i = 0; i < 32; i++)
        {
            Blkif.DecodedRequest request = rig.Request(
                i % 2 == 0 ? Blkif.OpRead : Blkif.OpWrite,
                (ulong)i * 8,
                Requests.Pages(1)
            );
            posted.Add(request.Id);
            rig.Put(in request);
        }
        Assert.Equal(PassResult.Idle, rig.PushAndRun());

        HashSet<ulong> answered = [];
        while (rig.Disk.UnderWay is [ScriptedOperation first, ..])
        {
            Assert.InRange(rig.Queue.InFlight, 1, slots);
            // A queue that sleeps without a free slot cannot use an event for a new request.
            if (rig.Queue.InFlight == slots)
                Assert.False(rig.Queue.FinalCheckForRequests());
            rig.Disk.Complete(first);
            rig.Run();
            foreach (Blkif.DecodedResponse response in rig.Responses())
            {
                Assert.Equal(Blkif.RspOkay, response.Status);
                Assert.True(answered.Add(response.Id), "answered twice");
            }
        }
        Assert.True(answered.SetEquals(posted));
    }

    [Theory, EveryAbi(1, 2)]
    [Proves("B2")]
    public void With_fewer_slots_a_disk_that_answers_at_once_still_gets_the_whole_ring(
        BlkifProtocol protocol,
        int slots
    )
    {
        using Rig rig = new(protocol, new RigOptions { MaxInFlight = slots });
        rig.Disk.Synchronous();
        for (int i = 0; i < 32; i++)
            rig.Put(rig.Request(Blkif.OpWrite, (ulong)i * 8, Requests.Pages(1)));
        rig.PushAndRun();
        Assert.Equal(32, rig.Responses().Count);
        Assert.Equal(slots, rig.Statistics.BatchSize.Max);
    }

    [Theory, EveryAbi(0, 33, 1000)]
    [Proves("B1")]
    public void A_pool_size_out_of_range_is_brought_into_it(BlkifProtocol protocol, int slots)
    {
        using Rig rig = new(protocol, new RigOptions { MaxInFlight = slots });
        for (int i = 0; i < 32; i++)
            rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        rig.PushAndRun();
        Assert.Equal(Math.Clamp(slots, 1, 32), rig.Queue.InFlight);
        rig.FinishDisk();
        Assert.Equal(32, rig.Responses().Count);
    }

    [Theory, EveryAbi]
    [Proves("B3")]
    public void Ring_indices_run_past_two_to_the_32(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, new RigOptions { RingIndex = 0xfffffff0 });
        rig.Disk.Synchronous();
        int number = 0;
        for (int round = 0; round < 20; round++)
        {
            List<ulong> posted = [];
            for (int i = 0; i < 1 + (round * 7 % 32); i++)
            {
                Blkif.DecodedRequest request = Requests.Of(
                    rig.Frontend,
                    number++,
                    Blkif.OpWrite,
                    (ulong)(i * 8),
                    Requests.Pages(1)
                );
                posted.Add(request.Id);
                rig.Put(in request);
            }
            rig.PushAndRun();
            Assert.Equal(posted, rig.Responses().ConvertAll(response => response.Id));
            Assert.Equal(0xfffffff0 + (uint)number, rig.Frontend.Header.RspProd);
        }
        Assert.False(rig.Queue.IsBroken);
        Assert.True(rig.Frontend.Header.RspProd < 0xfffffff0, "the indices did not wrap: the test proves nothing");
    }
}
