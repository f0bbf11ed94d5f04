using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Tests.Kit;
using Blkring.Engine.Vbds;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Vbds;

/// <summary>B19: ending service at any moment.</summary>
public sealed class StopTests
{
    [Theory, EveryAbi(true, false)]
    [Proves("B19")]
    public void Stopped_under_load_everything_taken_is_answered_and_everything_mapped_is_let_go(
        BlkifProtocol protocol,
        bool ioUring
    )
    {
        using TempImage image = new(4096);
        using FileDisk disk = image.Open();
        using Reactor reactor = new(new ReactorOptions { UseIoUring = ioUring });
        for (int round = 0; round < 5; round++)
        {
            using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(9), 2);
            Frontend frontend = Frontend.Create(domain, protocol, 2);
            using Vbd vbd = new(disk, reactor);
            StepAccess access = new(domain);
            vbd.Connect(frontend.Connection, access);
            VbdQueue queue = vbd.Queue!;
            using Load load = new(frontend);
            Wait.Until(() => queue.Statistics.Answered > 1000, "some load");

            Assert.True(vbd.Stop(Wait.Limit), "it did not stop");
            load.Dispose();
            Assert.Equal(0, queue.InFlight);
            Assert.Equal((uint)queue.Statistics.Answered, frontend.Header.RspProd);
            Assert.All(frontend.RingReferences, reference => Assert.False(domain.IsMapped(reference)));
            Assert.Equal(["UnbindEventChannel", "UnmapRing", "Dispose"], access.Steps[^3..]);
            Assert.Null(vbd.Queue);
        }
    }

    [Theory, EveryAbi]
    public void What_a_frontend_that_closes_has_left_on_its_ring_is_answered_also_by_a_paused_device(
        BlkifProtocol protocol
    )
    {
        using Reactor reactor = new();
        using Device device = new(reactor, protocol, new MemoryDisk(4096));
        Assert.True(device.Vbd.Pause(Wait.Limit));
        for (int i = 0; i < 5; i++)
            device.Frontend.Put(Requests.Of(device.Frontend, i, Blkif.OpRead, 0, Requests.Pages(1)));
        device.Frontend.Push();

        Assert.True(device.Vbd.ServeToTheEnd(Wait.Limit));
        Assert.True(device.Vbd.Stop(Wait.Limit));
        Blkif.DecodedResponse response = default;
        for (int i = 0; i < 5; i++)
            Assert.True(device.Frontend.TryTake(ref response));
    }

    [Fact]
    public void Last_requests_that_the_disk_does_not_answer_are_not_waited_for_without_end()
    {
        using Reactor reactor = new();
        ScriptedDisk disk = new(4096);
        using Device device = new(reactor, BlkifProtocol.X86_64, disk);
        device.Frontend.Put(Requests.Of(device.Frontend, 0, Blkif.OpRead, 0, Requests.Pages(1)));
        device.Frontend.Push();
        Assert.False(device.Vbd.ServeToTheEnd(TimeSpan.FromMilliseconds(50)));
        Wait.Until(() => disk.UnderWay.Length == 1, "the request to reach the disk");
        reactor.Invoke(disk.CompleteAll);
        reactor.Kick(device.Queue);
        Assert.True(device.Vbd.ServeToTheEnd(Wait.Limit));
    }

    [Fact]
    [Proves("B19")]
    public void Connecting_and_stopping_leaks_no_descriptor()
    {
        using Reactor reactor = new();
        Serve();
        int before = ThisProcess.OpenDescriptors();
        for (int i = 0; i < 10; i++)
            Serve();
        Assert.Equal(before, ThisProcess.OpenDescriptors());

        void Serve()
        {
            using TempImage image = new(4096);
            using Device device = new(reactor, BlkifProtocol.X86_64, image.Open());
            WorkloadResult result = device.Work(TimeSpan.FromMilliseconds(5));
            Assert.True(result.IsRight, result.FirstProblem);
        }
    }

    [Fact]
    [Proves("B19")]
    public void Stopping_twice_or_before_connecting_or_after_a_failed_connection_is_harmless()
    {
        using Reactor reactor = new();
        using MemoryDisk disk = new(4096);
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(9), 1);
        Frontend frontend = Frontend.Create(domain, BlkifProtocol.X86_64, 1);
        using Vbd vbd = new(disk, reactor);
        Assert.True(vbd.Stop(TimeSpan.Zero));
        Assert.Throws<VbdConnectException>(() =>
            vbd.Connect(frontend.Connection, new StepAccess(domain, "BindEventChannel"))
        );
        Assert.True(vbd.Stop(TimeSpan.Zero));

        for (int round = 0; round < 3; round++)
        {
            vbd.Connect(frontend.Connection, new LoopbackHypervisor(domain));
            Assert.True(vbd.Stop(Wait.Limit));
            Assert.True(vbd.Stop(TimeSpan.Zero));
            Assert.False(vbd.IsConnected);
        }
    }

    [Theory, EveryAbi(true, false)]
    [Proves("B19")]
    public void A_disk_that_never_answers_keeps_its_memory_and_stops_nobody_else(BlkifProtocol protocol, bool ioUring)
    {
        using Reactor reactor = new(new ReactorOptions { UseIoUring = ioUring });
        ScriptedDisk sick = new(4096);
        new Random(4).NextBytes(sick.Content);
        using Device device = new(reactor, protocol, sick);
        using Device other = new(reactor, protocol, new MemoryDisk(4096));
        for (int i = 0; i < 3; i++)
            device.Frontend.Put(Requests.Of(device.Frontend, i, Blkif.OpRead, (ulong)i * 8, Requests.Pages(1)));
        device.Frontend.Push();
        Wait.Until(() => sick.UnderWay.Length == 3, "three reads to start");

        for (int attempt = 0; attempt < 3; attempt++)
            Assert.False(device.Vbd.Stop(TimeSpan.FromMilliseconds(2)), "stopped with reads under way");
        Assert.True(device.Vbd.IsConnected);
        Assert.True(device.Domain.IsMapped(device.Frontend.RingReferences[0]));
        Assert.Equal(0, sick.DetachCount);
        WorkloadResult result = other.Work(TimeSpan.FromMilliseconds(20));
        Assert.True(result.IsRight, result.FirstProblem);

        // The disk completes late and writes to the buffers, which must still exist.
        VbdQueue queue = device.Queue;
        sick.CompleteAll();
        reactor.Kick(queue);
        Assert.True(device.Vbd.Stop(Wait.Limit));
        Assert.Equal(1, sick.DetachCount);
        Assert.False(device.Domain.IsMapped(device.Frontend.RingReferences[0]));
        // The guest got its data all the same.
        Assert.All(Wait.ForResponses(device.Frontend, 3), response => Assert.Equal(Blkif.RspOkay, response.Status));
        Assert.Equal(3, queue.Statistics.Read.Operations);
        Assert.Empty(sick.Violations);
    }

    [Fact]
    [Proves("B19")]
    public void A_device_that_is_stopping_cannot_be_resumed()
    {
        using Reactor reactor = new();
        ScriptedDisk sick = new(4096);
        using Device device = new(reactor, BlkifProtocol.X86_64, sick);
        device.Frontend.Put(Requests.Of(device.Frontend, 0, Blkif.OpRead, 0, Requests.Pages(1)));
        device.Frontend.Push();
        Wait.Until(() => sick.UnderWay.Length == 1, "the read to start");
        Assert.False(device.Vbd.Stop(TimeSpan.Zero));
        Assert.Throws<InvalidOperationException>(device.Vbd.Resume);
        sick.CompleteAll();
        reactor.Kick(device.Queue);
        Assert.True(device.Vbd.Stop(Wait.Limit));
    }

    [Fact]
    [Proves("B19")]
    public void A_broken_queue_stops_like_any_other()
    {
        using Reactor reactor = new();
        using Device device = new(reactor, BlkifProtocol.X86_64, new MemoryDisk(4096));
        device.Frontend.SharedRequestProducer = 1u << 31;
        device.Frontend.Notify();
        Wait.Until(() => device.Queue.IsBroken, "the queue to notice");
        Assert.True(device.Vbd.Stop(Wait.Limit));
    }

    /// <summary>
    /// A guest that posts requests and takes responses as fast as it can until it is told to end. It does not wait for
    /// responses that never come.
    /// </summary>
    private sealed class Load : IDisposable
    {
        private readonly Thread _thread;
        private volatile bool _end;

        public Load(Frontend frontend)
        {
            _thread = new Thread(() =>
            {
                Blkif.DecodedResponse response = default;
                for (int number = 0; !_end; )
                {
                    for (uint free = frontend.FreeRequests; free > 0; free--, number++)
                        frontend.Put(
                            Requests.Of(
                                frontend,
                                number,
                                number % 2 == 0 ? Blkif.OpRead : Blkif.OpWrite,
                                (ulong)(number % 500) * 8,
                                Requests.Pages(1)
                            )
                        );
                    frontend.Push();
                    while (frontend.TryTake(ref response)) { }
                }
            });
            _thread.Start();
        }

        public void Dispose()
        {
            _end = true;
            _thread.Join();
        }
    }
}
