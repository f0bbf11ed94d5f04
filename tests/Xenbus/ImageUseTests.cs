using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Queues;
using Blkring.Engine.Xenbus;
using Blkring.Xenbus.Tests.Kit;

namespace Blkring.Xenbus.Tests;

/// <summary>Who may use an image, how much of it, and in which sectors.</summary>
public sealed class ImageUseTests(Xenstored xenstored) : IClassFixture<Xenstored>
{
    private static readonly BackendOptions s_impatient = new() { LockTimeout = TimeSpan.FromMilliseconds(100) };

    [Fact]
    public void Two_guests_that_would_write_one_image_are_not_both_served_and_the_second_is_told_why()
    {
        using World world = new(xenstored, s_impatient);
        DiskRequest disk = new() { Params = "aio:" + world.NewImage() };
        Guest first = world.Connected(disk),
            second = world.Attach(disk);
        world.Toolstack.WaitFor(second.Id, XenbusState.InitWait);
        Assert.Contains("is in use", world.Status(second.Id)!.LastError, StringComparison.Ordinal);
        second.Publish();
        world.Toolstack.WaitFor(second.Id, XenbusState.Closing);
        Assert.Contains("turn image locking off", world.Toolstack.Error(second.Id), StringComparison.Ordinal);
        Assert.Equal(world.Toolstack.Error(second.Id), world.Toolstack.Read(second.Id, "hotplug-error"));
        Assert.False(second.AnyMapped);
        first.VerifyIo(20);
    }

    [Fact]
    public void A_guest_that_is_moved_gets_its_image_as_soon_as_its_domain_before_lets_go()
    {
        using World world = new(xenstored);
        DiskRequest disk = new() { Params = "aio:" + world.NewImage() };
        Guest before = world.Connected(disk),
            after = world.Attach(disk);
        world.Toolstack.WaitFor(after.Id, XenbusState.InitWait);
        after.Publish();
        world.Toolstack.Detach(before.Id);
        before.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(after.Id, XenbusState.Connected);
        after.VerifyIo(20);
        Assert.Null(world.Status(after.Id)!.LastError);
    }

    [Theory]
    [InlineData("w!", true)]
    [InlineData("r", true)]
    [InlineData("w", false)]
    public void Guests_share_an_image_that_all_read_or_where_somebody_says_so(string mode, bool locks)
    {
        using World world = new(xenstored, s_impatient with { Device = _ => new DeviceOptions { Lock = locks } });
        DiskRequest disk = new() { Params = "aio:" + world.NewImage(), Mode = mode };
        Assert.All(
            [world.Connected(disk), world.Connected(disk)],
            guest => Assert.True(world.Status(guest.Id)!.IsConnected)
        );
    }

    [Fact]
    public void What_another_process_still_has_under_way_a_takeover_waits_for_however_long_it_takes()
    {
        using World world = new(xenstored, s_impatient);
        string image = world.NewImage();
        Guest guest = world.Connected(new DiskRequest { Params = image });
        Assert.True(world.Backend.Stop(Wait.Limit));
        // The kernel does the same for a process that was killed with requests in flight.
        using (FileDisk held = FileDisk.Open(image, new FileDiskOptions { Writable = true }))
        {
            world.StartBackend();
            Wait.Until(() => world.Status(guest.Id)?.LastError is not null, "the wait is told");
            Assert.Contains("is in use", world.Status(guest.Id)!.LastError, StringComparison.Ordinal);
            Thread.Sleep(2 * s_impatient.LockTimeout);
            Assert.Equal(
                (XenbusState.Connected, false),
                (world.Toolstack.BackendState(guest.Id), world.Status(guest.Id)!.IsConnected)
            );
        }
        Wait.Until(() => world.Status(guest.Id) is { IsConnected: true, LastError: null }, "it is taken over");
        guest.VerifyIo(20);
    }

    [Fact]
    public void A_limit_holds_at_once_shows_and_outlives_a_reconnect_but_not_the_device()
    {
        using World world = new(
            xenstored,
            new BackendOptions { Device = _ => new DeviceOptions { Limits = new ThrottleLimits { Iops = 1_000_000 } } }
        );
        Guest guest = world.Connected();
        Assert.Equal(new ThrottleLimits { Iops = 1_000_000 }, world.Status(guest.Id)!.Limits);
        long free = guest.VerifyIo(200);

        world.Backend.Limit(guest.Id, limits => limits with { Iops = 50 });
        Assert.Equal(new ThrottleLimits { Iops = 50 }, world.Status(guest.Id)!.Limits);
        long limited = Guest.Right(guest.NewWorkload(guest.Frontend).Run(8, TimeSpan.FromSeconds(1)));
        // 50, and those in flight when the time ended.
        Assert.InRange(limited, 1, 80);
        Assert.True(free > 2 * limited, $"{free} without a limit, {limited} with");

        guest.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
        guest.MakeRings();
        guest.SetState(XenbusState.Initialising);
        guest.Connect(world.Toolstack);
        Assert.Equal(50, world.Status(guest.Id)!.Limits.Iops);
        world.Backend.Limit(guest.Id, _ => new ThrottleLimits());
        guest.VerifyIo(20);
        world.Store.Remove(Toolstack.BackendPath(guest.Id));
        world.WaitUntilGone(guest.Id);
        guest.MakeRings();
        world.Toolstack.Attach(guest.Id, new DiskRequest { Params = world.NewImage() });
        guest.Connect(world.Toolstack);
        Assert.Equal(1_000_000, world.Status(guest.Id)!.Limits.Iops);
        Assert.Throws<XenbusCommandException>(() => world.Backend.Limit(World.NewId(), limits => limits));
    }

    [Fact]
    public void A_limit_by_command_goes_with_the_VM_and_not_with_the_domain_id()
    {
        using World world = new(xenstored);
        DeviceId before = World.NewId(),
            after = World.NewId();
        DiskRequest disk = new() { Params = "aio:" + world.NewImage() };
        Attach(before, "web1");
        world.Backend.Limit(before, limits => limits with { Iops = 50 });
        world.Toolstack.RemoveAreas(before);
        world.Store.Remove($"/local/domain/{before.Frontend}");
        world.WaitUntilGone(before);

        // The guest has rebooted: another domain, the same VM.
        Attach(after, "web1");
        Assert.Equal(50, world.Status(after)!.Limits.Iops);
        // Another guest has the domain id that the first had.
        Attach(before, "web2", new DiskRequest { Params = "aio:" + world.NewImage("other.img") });
        Assert.Equal(0, world.Status(before)!.Limits.Iops);

        void Attach(DeviceId device, string vm, DiskRequest? request = null)
        {
            world.Store.Write($"/local/domain/{device.Frontend}/name", vm);
            world.Toolstack.Attach(device, request ?? disk);
            world.Toolstack.WaitFor(device, XenbusState.InitWait);
        }
    }

    [Fact]
    public void Limits_that_are_kept_hold_for_the_next_daemon_and_others_do_not()
    {
        using World world = new(xenstored, start: false);
        string file = world.NewImage("unused.img") + ".limits";
        world.Options = new BackendOptions { LimitsFile = file };
        world.StartBackend();
        Guest kept = world.NewGuest(),
            forgotten = world.NewGuest(),
            nameless = world.NewGuest();
        foreach ((Guest guest, string vm) in ((Guest, string)[])[(kept, "a b"), (forgotten, "c")])
            world.Store.Write($"/local/domain/{guest.Id.Frontend}/vm", $"/vm/{vm}");
        foreach (Guest guest in (Guest[])[kept, forgotten, nameless])
        {
            world.Toolstack.Attach(
                guest.Id,
                new DiskRequest { Params = "aio:" + world.NewImage($"{guest.Id.Frontend}.img") }
            );
            world.Toolstack.WaitFor(guest.Id, XenbusState.InitWait);
        }
        ThrottleLimits limits = new()
        {
            Iops = 50,
            IopsBurst = 3,
            BytesPerSecond = 1 << 20,
            BytesBurst = 7,
        };
        world.Backend.Limit(kept.Id, _ => limits, keep: true);
        world.Backend.Limit(forgotten.Id, _ => limits, keep: true);
        world.Backend.Limit(forgotten.Id, _ => limits with { Iops = 60 });
        Assert.Equal(
            ErrorCode.LimitsNotKept,
            Assert.Throws<XenbusCommandException>(() => world.Backend.Limit(nameless.Id, _ => limits, keep: true)).Code
        );
        Assert.Equal(limits, world.Status(nameless.Id)!.Limits);

        world.RestartBackend();
        Wait.Until(() => world.Status(forgotten.Id)?.Image is not null, "the next daemon has the devices");
        Wait.Until(() => world.Status(kept.Id)?.Image is not null, "the next daemon has the devices");
        Assert.Equal(limits, world.Status(kept.Id)!.Limits);
        Assert.Equal(new ThrottleLimits(), world.Status(forgotten.Id)!.Limits);
        // A file that somebody has spoilt is no reason not to serve.
        File.WriteAllText(file, "1 2\nx y z 1 2 3 4\n");
        world.RestartBackend();
        Wait.Until(() => world.Status(kept.Id)?.Image is not null, "the next daemon has the devices");
    }

    [Theory]
    [InlineData(true, "4096")]
    [InlineData(false, "512")]
    public void The_images_own_sectors_are_offered_only_where_asked_for_and_kept_to_by_the_next_daemon(
        bool native,
        string sectorSize
    )
    {
        BackendOptions Options(bool native) =>
            new()
            {
                Device = _ => new DeviceOptions { NativeSectors = native },
                OpenImage = (path, options) =>
                    FileDisk.Open(
                        path,
                        new FileDiskOptions
                        {
                            Writable = options.Writable,
                            Lock = options.Lock,
                            MinAlignmentBytes = 4096,
                        }
                    ),
            };
        using World world = new(xenstored, Options(native));
        Guest guest = world.Connected(),
            drive = world.Connected(
                new DiskRequest
                {
                    Params = world.NewImage(),
                    DeviceType = "cdrom",
                    Mode = "r",
                }
            );
        Assert.Equal(
            (sectorSize, "4096", "2048"),
            (
                world.Toolstack.Read(guest.Id, "sector-size"),
                world.Toolstack.Read(guest.Id, "physical-sector-size"),
                world.Toolstack.Read(guest.Id, "sectors")
            )
        );
        Assert.Equal("512", world.Toolstack.Read(drive.Id, "sector-size"));

        world.Options = Options(!native);
        world.RestartBackend();
        Wait.Until(() => world.Status(guest.Id) is { IsConnected: true }, "the device is taken over");
        Assert.Equal(sectorSize, world.Toolstack.Read(guest.Id, "sector-size"));
    }

    [Fact]
    public void A_changed_length_shows_in_what_is_said_of_the_image()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        world.Backend.Resize(guest.Id, 1024 * Disk.SectorBytes);
        Assert.Contains(" 1024 sectors,", world.Status(guest.Id)!.Image, StringComparison.Ordinal);
    }
}
