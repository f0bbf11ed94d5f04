using System.Collections.Concurrent;
using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Xenbus;
using Blkring.Interop;
using Blkring.Xenbus.Tests.Kit;

namespace Blkring.Xenbus.Tests;

/// <summary>
/// What keeps others from an image while it is served: its lock, and the claim of a block device, for which a file
/// stands here.
/// </summary>
public sealed class ImageClaimTests(Xenstored xenstored) : IClassFixture<Xenstored>
{
    private readonly ScriptedCalls _calls = new() { BlockDevices = true };

    private BackendOptions Options(bool locks = true) =>
        new()
        {
            LockTimeout = TimeSpan.FromMilliseconds(100),
            Device = _ => new DeviceOptions { Lock = locks },
            OpenImage = (path, options) =>
                FileDisk.Open(
                    path,
                    new FileDiskOptions
                    {
                        Writable = options.Writable,
                        Cache = options.Cache,
                        Lock = options.Lock,
                        Calls = _calls,
                        Opener = _calls,
                    }
                ),
        };

    [Fact]
    public void A_block_device_is_claimed_when_the_guest_connects()
    {
        using World world = new(xenstored, Options());
        Guest guest = world.Attach();
        world.Toolstack.WaitFor(guest.Id, XenbusState.InitWait);
        Assert.Equal((0, ImageLock.Exclusive), (_calls.Claims, world.Status(guest.Id)!.HeldLock));
        guest.Connect(world.Toolstack);
        Assert.Equal((1, true), (_calls.Claims, world.Status(guest.Id)!.IsClaimed));
        guest.VerifyIo(20);
    }

    [Theory]
    [InlineData("w!", true, ImageLock.NotYet)]
    [InlineData("w", false, ImageLock.NotYet)]
    [InlineData("r", true, ImageLock.Shared)]
    public void What_is_shared_or_only_read_is_not_claimed(string mode, bool locks, ImageLock held)
    {
        using World world = new(xenstored, Options(locks));
        DiskRequest disk = new() { Params = "phy:" + world.NewImage(), Mode = mode };
        Assert.All(
            [world.Connected(disk), world.Connected(disk)],
            guest =>
                Assert.Equal(
                    (held, mode != "w!" && locks, false),
                    (
                        world.Status(guest.Id)!.HeldLock,
                        world.Status(guest.Id)!.IsLocked,
                        world.Status(guest.Id)!.IsClaimed
                    )
                )
        );
        Assert.Equal(0, _calls.Claims);
    }

    [Fact]
    public void A_guest_whose_device_the_host_uses_is_told_so()
    {
        _calls.ClaimErrors.Enqueue(Errno.EBUSY);
        using World world = new(xenstored, Options());
        Guest guest = world.Attach();
        world.Toolstack.WaitFor(guest.Id, XenbusState.InitWait);
        guest.Publish();
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closing);
        Assert.Contains("is in use on this host", world.Toolstack.Error(guest.Id), StringComparison.Ordinal);
        Assert.False(guest.AnyMapped);
    }

    /// <param name="errno">Of the claim: a killed daemon's lasts until its requests end. Or of the lock.</param>
    [Theory]
    [InlineData(Errno.EBUSY, true, ErrorCode.ImageInUseByHost)]
    [InlineData(Errno.ENOLCK, false, ErrorCode.ImageNotLocked)]
    [InlineData(Errno.EIO, false, ErrorCode.ImageNotLocked)]
    public void A_running_guest_waits_for_the_claim_and_the_lock(int errno, bool claim, ErrorCode code)
    {
        using World world = new(xenstored, Options());
        Guest guest = world.Connected();
        Assert.True(world.Backend.Stop(Wait.Limit));
        ConcurrentQueue<int> errors = claim ? _calls.ClaimErrors : _calls.LockErrors;
        errors.Enqueue(errno);
        world.StartBackend();
        Wait.Until(() => world.Status(guest.Id)?.Error?.Code == code, "the wait is told");
        Assert.Equal(XenbusState.Connected, world.Toolstack.BackendState(guest.Id));
        errors.Enqueue(0);
        Wait.Until(() => world.Status(guest.Id) is { IsConnected: true, Error: null }, "it is taken over");
        guest.VerifyIo(20);
    }

    [Theory]
    [InlineData(Errno.EIO, true)]
    [InlineData(Errno.EIO, false)]
    public void A_running_guest_waits_for_direct_io_rather_than_changing_the_cache(int errno, bool atOpen)
    {
        _calls.BlockDevices = false;
        using World world = new(xenstored, Options());
        Guest guest = world.Connected();
        string? served = world.Status(guest.Id)!.Image;
        Assert.True(world.Backend.Stop(Wait.Limit));
        (_calls.DirectOpenError, _calls.DirectReadError) = atOpen ? (errno, 0) : (0, errno);
        world.StartBackend();
        Wait.Until(() => world.Status(guest.Id)?.Error?.Code == ErrorCode.ImageNotOpened, "the wait is told");
        (_calls.DirectOpenError, _calls.DirectReadError) = (0, 0);
        Wait.Until(() => world.Status(guest.Id) is { IsConnected: true, Error: null }, "it is taken over");
        Assert.Equal(served, world.Status(guest.Id)!.Image);
        guest.VerifyIo(20);
    }
}
