using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Xenbus;
using Blkring.Interop;
using Blkring.Xenbus.Tests.Kit;

namespace Blkring.Xenbus.Tests;

/// <summary>Writes that were answered and are not on stable storage: lost, or not flushed yet.</summary>
public sealed class LostWriteTests(Xenstored xenstored) : IClassFixture<Xenstored>
{
    private volatile int _result;
    private readonly List<FlushingDisk> _disks = [];

    [Fact]
    public void Lost_writes_stay_lost_over_a_restart_and_a_reboot_until_the_operator_decides()
    {
        using World world = NewWorld();
        Guest guest = world.Connected();
        Assert.Equal(Blkif.RspOkay, Flush(guest));
        _result = -Errno.EIO;
        Assert.Equal(Blkif.RspError, Flush(guest));
        _result = 0;
        Assert.Equal(Blkif.RspError, Flush(guest));
        AwaitLoss(world, guest);

        world.RestartBackend();
        AwaitLoss(world, guest);
        Assert.Equal(Blkif.RspError, Flush(guest));

        // Its next domain.
        Detach(world, guest);
        Guest rebooted = world.Connected();
        AwaitLoss(world, rebooted);
        Assert.Equal(Blkif.RspError, Flush(rebooted));

        world.Backend.Continue(rebooted.Id);
        Assert.Equal(Blkif.RspOkay, Flush(rebooted));
        Assert.Null(world.Status(rebooted.Id)!.Error);
        world.RestartBackend();
        Wait.Until(() => world.Status(rebooted.Id) is { IsConnected: true }, "the ring is taken over");
        Assert.Equal(Blkif.RspOkay, Flush(rebooted));
        Assert.Null(world.Status(rebooted.Id)!.Error);
    }

    [Fact]
    public void A_pause_flushes_and_fails_if_that_fails()
    {
        using World world = NewWorld();
        Guest guest = world.Connected();
        world.Backend.Pause(guest.Id);
        Assert.Equal(1, _disks[^1].OwnFlushes);
        world.Backend.Resume(guest.Id);
        _result = -Errno.ETIMEDOUT;
        XenbusCommandException error = Assert.Throws<XenbusCommandException>(() => world.Backend.Pause(guest.Id));
        Assert.Equal(ErrorCode.NotFlushed, error.Code);
        Assert.False(world.Status(guest.Id)!.IsPaused);
        _result = 0;
        Assert.Equal(Blkif.RspOkay, Flush(guest));
        world.Backend.Pause(guest.Id);
        Assert.True(world.Status(guest.Id)!.IsPaused);
    }

    [Fact]
    public void A_frontend_that_closes_is_flushed_and_a_stop_of_the_daemon_flushes_nothing()
    {
        using World world = NewWorld();
        Guest guest = world.Connected();
        FlushingDisk first = _disks[^1];
        world.RestartBackend();
        Wait.Until(() => world.Status(guest.Id) is { IsConnected: true }, "the ring is taken over");
        Assert.Equal(0, first.OwnFlushes);
        FlushingDisk second = _disks[^1];
        Detach(world, guest);
        Assert.Equal(1, second.OwnFlushes);
    }

    private World NewWorld()
    {
        return World.WithJournals(xenstored, options => options with { OpenImage = Open });

        Disk Open(string path, FileDiskOptions options)
        {
            _disks.Add(new FlushingDisk(() => _result));
            return _disks[^1];
        }
    }

    private static void Detach(World world, Guest guest)
    {
        guest.SetState(XenbusState.Closing);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closing);
        guest.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
    }

    private static int Flush(Guest guest)
    {
        guest.Frontend.Put(Requests.Of(guest.Frontend, 0, Blkif.OpFlushDiskcache, 0, []));
        guest.Frontend.Push();
        return Assert.Single(Wait.ForResponses(guest.Frontend, 1)).Status;
    }

    private static void AwaitLoss(World world, Guest guest) =>
        Wait.Until(
            () =>
                world.Status(guest.Id) is { IsConnected: true, NeedsDecision: true, IsWaiting: false } status
                && status.Error?.Code == ErrorCode.WritesLost,
            () => $"the device says that writes are lost: {world.Status(guest.Id)?.Error}"
        );
}
