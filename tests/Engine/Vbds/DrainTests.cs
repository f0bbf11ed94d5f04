using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Tests.Kit;
using Blkring.Engine.Vbds;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Vbds;

/// <summary>B18: a disk is quiesced while its frontend stays connected.</summary>
public sealed class DrainTests
{
    [Theory, EveryAbi(true, false)]
    [Proves("B18")]
    public void Drained_and_resumed_under_load_nothing_is_lost(BlkifProtocol protocol, bool ioUring)
    {
        using TempImage image = new(4096);
        using Reactor reactor = new(new ReactorOptions { UseIoUring = ioUring });
        using Device device = new(reactor, protocol, image.Open());
        using CancellationTokenSource working = new();
        WorkloadResult? result = null;
        Thread guest = new(() =>
        {
            result = device.Work(TimeSpan.FromMilliseconds(300));
            working.Cancel();
        });
        guest.Start();
        int drained = 0;
        while (!working.IsCancellationRequested || drained == 0)
        {
            Assert.True(device.Vbd.Pause(Wait.Limit), "the queue did not drain");
            Assert.False(device.Queue.IsAttached);
            Assert.Equal(0, device.Queue.InFlight);
            drained++;
            device.Vbd.Resume();
            Assert.True(device.Queue.IsAttached);
        }
        // A workload ends by itself, at the latest when its backend has not answered for too long.
        guest.Join();
        Assert.True(result!.IsRight, result.FirstProblem);
        Assert.True(result.Operations > 0);
    }

    [Theory, EveryAbi(true, false)]
    [Proves("B18")]
    public void Drained_it_answers_what_is_under_way_and_takes_no_more(BlkifProtocol protocol, bool ioUring)
    {
        using Reactor reactor = new(new ReactorOptions { UseIoUring = ioUring });
        ScriptedDisk disk = new(4096);
        using Device device = new(reactor, protocol, disk);
        Post(device, 0, 3);
        Wait.Until(() => disk.UnderWay.Length == 3, "three reads to start");
        Assert.False(device.Vbd.Pause(TimeSpan.FromMilliseconds(1)), "drained with reads under way");

        Post(device, 3, 2);
        disk.CompleteAll();
        reactor.Kick(device.Queue);
        Assert.True(device.Vbd.Pause(Wait.Limit));
        Assert.Equal(3, Wait.ForResponses(device.Frontend, 3).Count);

        // Nothing is taken, however often the queue is turned or notified.
        device.Frontend.Notify();
        for (int i = 0; i < 3; i++)
            reactor.Kick(device.Queue);
        Assert.Equal(3, disk.Started.Length);
        Assert.Equal(0, disk.DetachCount);

        device.Vbd.Resume();
        Wait.Until(() => disk.UnderWay.Length == 2, "the waiting requests to be taken");
        disk.CompleteAll();
        reactor.Kick(device.Queue);
        Assert.Equal(2, Wait.ForResponses(device.Frontend, 2).Count);
        Assert.Empty(disk.Violations);
    }

    [Fact]
    [Proves("B18")]
    public void A_drain_that_timed_out_is_taken_back_by_resuming()
    {
        using Reactor reactor = new();
        ScriptedDisk disk = new(4096);
        using Device device = new(reactor, BlkifProtocol.X86_64, disk);
        Post(device, 0, 1);
        Wait.Until(() => disk.UnderWay.Length == 1, "the read to start");
        Assert.False(device.Vbd.Pause(TimeSpan.Zero));
        device.Vbd.Resume();
        Post(device, 1, 1);
        Wait.Until(() => disk.UnderWay.Length == 2, "the second read to start");
        disk.CompleteAll();
        reactor.Kick(device.Queue);
        Assert.Equal(2, Wait.ForResponses(device.Frontend, 2).Count);
    }

    [Fact]
    [Proves("B18")]
    public void Draining_and_resuming_what_is_not_connected_is_harmless()
    {
        using Reactor reactor = new();
        using MemoryDisk disk = new(8);
        using Vbd vbd = new(disk, reactor);
        Assert.True(vbd.Pause(TimeSpan.Zero));
        vbd.Resume();
        Assert.False(vbd.IsConnected);
    }

    private static void Post(Device device, int first, int count)
    {
        for (int i = first; i < first + count; i++)
            device.Frontend.Put(Requests.Of(device.Frontend, i, Blkif.OpRead, 0, Requests.Pages(1)));
        device.Frontend.Push();
    }
}
