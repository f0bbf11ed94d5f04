using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Tests.Kit;
using Blkring.Engine.Vbds;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Vbds;

/// <summary>
/// A device with several rings: connected and stopped as one, each ring served by itself, spread over threads.
/// </summary>
public sealed unsafe class MultiQueueTests
{
    private const int SectorsPerRing = 2048;

    [Theory, EveryAbi(1, 4)]
    [Proves("B20", "F3")]
    public void Every_ring_of_a_device_is_served_at_the_same_time(BlkifProtocol protocol, int pages)
    {
        using Guest guest = new(protocol, pages, rings: 4);
        List<Reactor> started = [];
        using ReactorPool reactors = new(new ReactorPoolOptions { Threads = 2, Started = started.Add });
        using MemoryDisk disk = new(4 * SectorsPerRing);
        using Vbd vbd = new(disk, reactors);
        vbd.Connect(guest.Connection, guest.Hypervisor);
        Assert.Equal(4, vbd.Queues.Count);
        Assert.Equal(2, reactors.Reactors.Count);
        Assert.Equal(reactors.Reactors, started);

        Parallel.For(0, 4, ring => WriteAndReadBack(guest.Frontends[ring], ring));

        Assert.All(vbd.Queues, queue => Assert.True(queue.Statistics.Answered > 0));
        Assert.True(vbd.Stop(Wait.Limit));
        Assert.All(
            guest.Frontends,
            frontend => Assert.All(frontend.RingReferences, reference => Assert.False(guest.Domain.IsMapped(reference)))
        );
        Assert.All(guest.Domain.Channels, channel => Assert.False(channel.IsBound));
    }

    [Fact]
    [Proves("F3")]
    public void A_bad_ring_leaves_none_of_the_others_connected()
    {
        using Guest guest = new(BlkifProtocol.X86_64, 1, rings: 3);
        using ReactorPool reactors = new();
        using MemoryDisk disk = new(8);
        using Vbd vbd = new(disk, reactors);
        guest.Domain.Revoke(guest.Frontends[2].RingReferences[0]);
        Assert.Throws<VbdConnectException>(() => vbd.Connect(guest.Connection, guest.Hypervisor));
        Assert.False(vbd.IsConnected);
        Assert.False(guest.Domain.IsMapped(guest.Frontends[0].RingReferences[0]));
        Assert.All(guest.Domain.Channels, channel => Assert.False(channel.IsBound));
    }

    [Fact]
    public void Two_rings_cannot_have_one_event_channel()
    {
        using Guest guest = new(BlkifProtocol.X86_64, 1, rings: 2);
        using Reactor reactor = new();
        using MemoryDisk disk = new(8);
        using Vbd vbd = new(disk, reactor);
        VbdRing first = guest.Connection.Rings[0],
            second = guest.Connection.Rings[1];
        VbdConnectException error = Assert.Throws<VbdConnectException>(() =>
            vbd.Connect(
                guest.Connection with
                {
                    Rings = [first, second with { EventChannel = first.EventChannel }],
                },
                guest.Hypervisor
            )
        );
        Assert.Contains("bound already", error.Message, StringComparison.Ordinal);
        vbd.Connect(guest.Connection, guest.Hypervisor);
    }

    [Fact]
    public void No_ring_at_all_and_a_domain_that_does_not_exist_are_clear_errors()
    {
        using Guest guest = new(BlkifProtocol.X86_64, 1, rings: 1);
        using Reactor reactor = new();
        using MemoryDisk disk = new(8);
        using Vbd vbd = new(disk, reactor);
        Assert.Contains("no ring", Refusal(guest.Connection with { Rings = [] }), StringComparison.Ordinal);
        Assert.Contains(
            "no domain 9",
            Refusal(guest.Connection with { Frontend = new DomainId(9) }),
            StringComparison.Ordinal
        );

        string Refusal(VbdConnection connection) =>
            Assert.Throws<VbdConnectException>(() => vbd.Connect(connection, guest.Hypervisor)).Message;
    }

    /// <summary>A barrier would order only its own ring, and a file system would rely on more.</summary>
    [Fact]
    [Proves("B5", "F9")]
    public void A_barrier_is_not_offered_over_several_rings_and_answered_so()
    {
        foreach (int rings in (int[])[1, 2])
        {
            using Guest guest = new(BlkifProtocol.X86_64, 1, rings);
            using Reactor reactor = new();
            using MemoryDisk disk = new(4096);
            using Vbd vbd = new(disk, reactor);
            vbd.Connect(guest.Connection, guest.Hypervisor);
            Frontend frontend = guest.Frontends[^1];
            frontend.Put(Requests.Of(frontend, 0, Blkif.OpWriteBarrier, 0, Requests.Pages(1)));
            frontend.Push();
            Assert.Equal(
                rings == 1 ? Blkif.RspOkay : Blkif.RspEopnotsupp,
                Assert.Single(Wait.ForResponses(frontend, 1)).Status
            );
            frontend.Put(Requests.Of(frontend, 1, Blkif.OpFlushDiskcache, 0, Requests.Pages(1)));
            frontend.Push();
            Assert.Equal(Blkif.RspOkay, Assert.Single(Wait.ForResponses(frontend, 1)).Status);
        }
    }

    [Fact]
    [Proves("F3")]
    public void Pausing_stops_every_ring_and_resuming_starts_every_one()
    {
        using Guest guest = new(BlkifProtocol.X86_64, 1, rings: 3);
        using ReactorPool reactors = new(new ReactorPoolOptions { ThreadPerQueue = true });
        using MemoryDisk disk = new(3 * SectorsPerRing);
        using Vbd vbd = new(disk, reactors);
        vbd.Connect(guest.Connection, guest.Hypervisor);
        Assert.Equal(3, reactors.Reactors.Count);
        Assert.True(vbd.Pause(Wait.Limit));
        Assert.All(vbd.Queues, queue => Assert.False(queue.IsAttached));
        vbd.Resume();
        for (int ring = 0; ring < 3; ring++)
            WriteAndReadBack(guest.Frontends[ring], ring);
        Assert.True(vbd.Stop(Wait.Limit));
        Assert.Empty(reactors.Reactors);
    }

    [Fact]
    public void A_sick_disk_of_one_ring_is_waited_for_and_the_others_stop()
    {
        using Guest guest = new(BlkifProtocol.X86_64, 1, rings: 2);
        using Reactor reactor = new();
        using ScriptedDisk disk = new(4096);
        using Vbd vbd = new(disk, reactor);
        vbd.Connect(guest.Connection, guest.Hypervisor);
        guest.Frontends[0].Put(Requests.Of(guest.Frontends[0], 0, Blkif.OpRead, 0, Requests.Pages(1)));
        guest.Frontends[0].Push();
        Wait.Until(() => disk.UnderWay.Length == 1, "the read to start");

        try
        {
            Wait.Until(
                () =>
                {
                    Assert.False(vbd.Stop(TimeSpan.FromMilliseconds(20)));
                    return !guest.Domain.IsMapped(guest.Frontends[1].RingReferences[0]);
                },
                "the other ring to be let go"
            );
            Assert.True(guest.Domain.IsMapped(guest.Frontends[0].RingReferences[0]));
        }
        finally
        {
            disk.CompleteAll();
            reactor.Kick(vbd.Queue!);
        }
        Assert.True(vbd.Stop(Wait.Limit));
        Assert.False(guest.Domain.IsMapped(guest.Frontends[0].RingReferences[0]));
    }

    [Theory, EveryAbi(1)]
    [Proves("B19")]
    public void A_backend_that_comes_after_another_goes_on_where_the_responses_ended(BlkifProtocol protocol, int pages)
    {
        using Guest guest = new(protocol, pages, rings: 1);
        Frontend frontend = guest.Frontends[0];
        using Reactor reactor = new();
        using MemoryDisk disk = new(SectorsPerRing);
        using (Vbd before = new(disk, reactor))
        {
            before.Connect(guest.Connection, guest.Hypervisor);
            WriteAndReadBack(frontend, 0);
            Assert.True(before.Pause(Wait.Limit));
            // No backend is connected: the next one finds them.
            for (int i = 0; i < 5; i++)
                frontend.Put(Requests.Of(frontend, i, Blkif.OpRead, (ulong)i * 8, Requests.Pages(1)));
            frontend.Push();
            Assert.True(before.Stop(Wait.Limit));
        }
        while (frontend.WaitForEvent(0)) { }

        using Vbd after = new(disk, reactor);
        after.Connect(guest.Connection with { Takeover = true }, guest.Hypervisor);
        Assert.True(frontend.WaitForEvent(Wait.LimitMs), "the frontend is told to look");
        List<Blkif.DecodedResponse> responses = Wait.ForResponses(frontend, 5);
        Assert.All(responses, response => Assert.Equal(Blkif.RspOkay, response.Status));
        WriteAndReadBack(frontend, 0);
        Assert.False(after.Queue!.IsBroken);
    }

    /// <summary>
    /// Fills the ring's part of the disk with a pattern, one page per request, and compares what it reads back.
    /// </summary>
    private static void WriteAndReadBack(Frontend frontend, int ring)
    {
        foreach (byte operation in (byte[])[Blkif.OpWrite, Blkif.OpRead])
        {
            for (int page = 0; page < SectorsPerRing / 8; page++)
            {
                int number = page % frontend.EntryCount;
                Span<byte> buffer = new(frontend.BufferOf(number, 0), GuestMemory.PageBytes);
                byte pattern = (byte)((page * 7) + ring + 1);
                buffer.Fill(operation == Blkif.OpWrite ? pattern : (byte)0);
                frontend.Put(
                    Requests.Of(
                        frontend,
                        number,
                        operation,
                        ((ulong)ring * SectorsPerRing) + ((ulong)page * 8),
                        Requests.Pages(1)
                    )
                );
                frontend.Push();
                Assert.Equal(Blkif.RspOkay, Assert.Single(Wait.ForResponses(frontend, 1)).Status);
                if (operation == Blkif.OpRead)
                    Assert.Equal(-1, buffer.IndexOfAnyExcept(pattern));
            }
        }
    }

    /// <summary>A domain with several rings, and what it would write to xenstore.</summary>
    private sealed class Guest : IDisposable
    {
        public Guest(BlkifProtocol protocol, int ringPages, int rings)
        {
            Domain = Frontend.CreateDomain(new DomainId(7), ringPages, rings: rings);
            Frontends = [.. Enumerable.Range(0, rings).Select(_ => Frontend.Create(Domain, protocol, ringPages))];
            Connection = Frontends[0].Connection with
            {
                Rings = [.. Frontends.Select(frontend => frontend.Connection.Rings[0])],
            };
            Hypervisor = new LoopbackHypervisor(Domain);
        }

        public LoopbackDomain Domain { get; }
        public Frontend[] Frontends { get; }
        public VbdConnection Connection { get; }
        public LoopbackHypervisor Hypervisor { get; }

        public void Dispose() => Domain.Dispose();
    }
}
