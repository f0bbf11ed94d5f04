using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Xenbus;
using Blkring.Xenbus.Tests.Kit;

namespace Blkring.Xenbus.Tests;

/// <summary>Which disk a device is, what the guest is told of it, and how that changes while it is served.</summary>
public sealed class DiskTests(Xenstored xenstored) : IClassFixture<Xenstored>
{
    private static readonly BackendOptions s_quick = new() { GrowthInterval = TimeSpan.FromMilliseconds(100) };

    [Theory]
    [InlineData("aio:{0}")]
    [InlineData("raw:{0}")]
    [InlineData("file:{0}")]
    [InlineData("phy:{0}")]
    [InlineData("{0}")]
    public void An_image_is_named_in_any_of_the_usual_ways(string form)
    {
        using World world = new(xenstored);
        string image = world.NewImage("aio:a disk,with=what:xl allows é.img");
        Guest guest = world.Connected(
            new DiskRequest { Params = string.Format(System.Globalization.CultureInfo.InvariantCulture, form, image) }
        );
        guest.VerifyIo(20);
        Assert.Contains(image, world.Status(guest.Id)!.Image, StringComparison.Ordinal);
    }

    [Fact]
    public void A_phy_device_is_found_by_its_numbers_and_waited_for()
    {
        using World world = new(xenstored);
        string image = world.NewImage();
        // The script of a phy disk answers later. /dev/block has no device of these numbers here, so the path that the
        // script writes is used.
        Guest guest = world.Attach(
            new DiskRequest
            {
                Params = "iqn=of-some-target,portal=there",
                Type = "phy",
                Script = "block-iscsi",
            }
        );
        world.Toolstack.WaitFor(guest.Id, XenbusState.InitWait);
        guest.Publish();
        world.Store.Write(Toolstack.BackendPath(guest.Id) + "/physical-device-path", image);
        world.Store.Write(Toolstack.BackendPath(guest.Id) + "/physical-device", "ffe:ffffe");
        world.Toolstack.WaitFor(guest.Id, XenbusState.Connected);
        guest.SetState(XenbusState.Connected);
        guest.VerifyIo(20);
    }

    /// <summary>mode, device-type, removable, may write, info.</summary>
    [Theory]
    [InlineData("w", "disk", false, true, "0")]
    [InlineData("w!", "disk", false, true, "0")]
    [InlineData("r", "disk", false, false, "4")]
    [InlineData("w", "disk", true, true, "2")]
    [InlineData("r", "cdrom", true, false, "7")]
    [InlineData("w", "cdrom", true, false, "7")]
    [Proves("F15")]
    public void Mode_and_kind_of_the_disk_are_told_and_kept(
        string mode,
        string kind,
        bool removable,
        bool writable,
        string info
    )
    {
        using World world = new(xenstored);
        Guest guest = world.Connected(
            new DiskRequest
            {
                Params = world.NewImage(),
                Mode = mode,
                DeviceType = kind,
                Removable = removable,
            }
        );
        Assert.Equal(info, world.Toolstack.Read(guest.Id, "info"));
        Assert.Equal(!writable, world.Status(guest.Id)!.IsReadOnly);
        Assert.Equal(writable ? "1" : "0", world.Toolstack.Read(guest.Id, "feature-discard"));
        Assert.Equal(writable ? Blkif.RspOkay : Blkif.RspError, Ask(guest, Blkif.OpWrite));
        Assert.Equal(Blkif.RspOkay, Ask(guest, Blkif.OpRead));
    }

    [Fact]
    public void The_daemons_options_can_forbid_writes_and_discards_whatever_the_toolstack_says()
    {
        using World world = new(xenstored, new BackendOptions { Device = _ => new DeviceOptions { Writable = false } });
        Guest guest = world.Connected();
        Assert.Equal("4", world.Toolstack.Read(guest.Id, "info"));
        Assert.Equal(Blkif.RspError, Ask(guest, Blkif.OpWrite));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Proves("F10")]
    public void Discard_is_offered_unless_the_toolstack_disables_it(bool enabled)
    {
        using World world = new(xenstored);
        string image = world.NewImage();
        File.WriteAllBytes(image, [.. Enumerable.Repeat((byte)1, (int)World.Sectors * Disk.SectorBytes)]);
        Guest guest = world.Connected(new DiskRequest { Params = image, DiscardEnable = enabled });
        Assert.Equal(enabled ? "1" : "0", world.Toolstack.Read(guest.Id, "feature-discard"));
        Assert.Equal(enabled ? "4096" : null, world.Toolstack.Read(guest.Id, "discard-granularity"));
        Assert.Equal(enabled ? "0" : null, world.Toolstack.Read(guest.Id, "discard-alignment"));
        // A guest may send what it was not offered.
        Assert.Equal(enabled ? Blkif.RspOkay : Blkif.RspEopnotsupp, Ask(guest, Blkif.OpDiscard));
        Assert.Equal(enabled ? 0 : 1, File.ReadAllBytes(image)[0]);
    }

    [Fact]
    [Proves("F16")]
    public void An_image_that_grew_is_told_to_the_guest_and_served_to_its_new_end()
    {
        using World world = new(xenstored, s_quick);
        string image = world.NewImage();
        Guest guest = world.Connected(new DiskRequest { Params = image });
        Assert.Equal(Blkif.RspError, Ask(guest, Blkif.OpRead, World.Sectors));
        using (FileStream file = new(image, FileMode.Open))
            file.SetLength(2 * World.Sectors * Disk.SectorBytes);
        Wait.Until(() => world.Toolstack.Read(guest.Id, "sectors") == "4096", "the guest is told");
        Assert.Equal(XenbusState.Connected, world.Toolstack.BackendState(guest.Id));
        Assert.Equal(Blkif.RspOkay, Ask(guest, Blkif.OpRead, World.Sectors));
    }

    [Fact]
    [Proves("F16")]
    public void A_resize_by_command_writes_sectors_and_the_same_state_again()
    {
        using World world = new(xenstored);
        string image = world.NewImage();
        Guest guest = world.Connected(new DiskRequest { Params = image });
        using IXenstore watcher = xenstored.Connect();
        watcher.Watch(Toolstack.BackendPath(guest.Id), "t");
        Wait.Until(() => watcher.CheckWatch(out _, out _), "the watch's first event");

        world.Backend.Resize(guest.Id, 1024 * Disk.SectorBytes);
        // One transaction: a reader that sees the state change also finds the length.
        Assert.Equal(["sectors", "state"], NextKeys(watcher, 2).Order(StringComparer.Ordinal));
        Assert.Equal("1024", world.Toolstack.Read(guest.Id, "sectors"));
        Assert.Equal(Blkif.RspError, Ask(guest, Blkif.OpRead, 1024));

        using (FileStream file = new(image, FileMode.Open))
            file.SetLength(2 * World.Sectors * Disk.SectorBytes);
        world.Backend.Resize(guest.Id, null);
        Assert.Equal(2 * World.Sectors, world.Status(guest.Id)!.CapacitySectors);
        Assert.Equal(Blkif.RspOkay, Ask(guest, Blkif.OpRead, World.Sectors));
        Assert.Contains(
            "lengthen it first",
            Assert.Throws<XenbusCommandException>(() => world.Backend.Resize(guest.Id, 1L << 40)).Message,
            StringComparison.Ordinal
        );
        Assert.Throws<XenbusCommandException>(() => world.Backend.Resize(guest.Id, 0));
        Assert.Throws<XenbusCommandException>(() => world.Backend.Resize(World.NewId(), null));
    }

    [Fact]
    [Proves("F15")]
    public void A_disc_is_taken_out_and_another_put_in_while_the_guest_goes_on()
    {
        using World world = new(xenstored);
        string first = world.NewImage("first.iso"),
            second = world.NewImage("second.iso", 4096);
        File.WriteAllBytes(second, [.. Enumerable.Repeat((byte)2, 4096 * Disk.SectorBytes)]);
        Guest guest = world.Connected(
            new DiskRequest
            {
                Params = "aio:" + first,
                DeviceType = "cdrom",
                Removable = true,
                Mode = "r",
            }
        );
        Assert.Equal((byte)0, ReadByte(guest));

        world.Backend.Eject(guest.Id);
        Assert.Equal("0", world.Toolstack.Read(guest.Id, "sectors"));
        Assert.Equal(Blkif.RspError, Ask(guest, Blkif.OpRead));
        world.Backend.Insert(guest.Id, second);
        Assert.Equal(
            ("4096", "aio:" + second),
            (world.Toolstack.Read(guest.Id, "sectors"), world.Toolstack.Read(guest.Id, "params"))
        );
        Assert.Equal((byte)2, ReadByte(guest));
        Assert.Contains(
            "does not exist",
            Assert.Throws<XenbusCommandException>(() => world.Backend.Insert(guest.Id, second + ".no")).Message,
            StringComparison.Ordinal
        );
        Assert.Throws<XenbusCommandException>(() => world.Backend.Insert(guest.Id, "relative.iso"));

        // The toolstack does the same by writing params.
        world.Store.Write(Toolstack.BackendPath(guest.Id) + "/params", "aio:" + first);
        Wait.Until(() => world.Toolstack.Read(guest.Id, "sectors") == "2048", "the first disc is back");
        Assert.Equal((byte)0, ReadByte(guest));
        world.Store.Write(Toolstack.BackendPath(guest.Id) + "/params", "aio:/nonexistent.iso");
        Wait.Until(() => world.Toolstack.Read(guest.Id, "sectors") == "0", "a disc that is not there is none");
        Assert.Equal(XenbusState.Connected, world.Toolstack.BackendState(guest.Id));
    }

    [Fact]
    [Proves("F15")]
    public void An_empty_drive_is_attached_and_gets_its_disc_later()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected(
            new DiskRequest
            {
                Params = "",
                DeviceType = "cdrom",
                Removable = true,
                Mode = "r",
            }
        );
        Assert.Equal("0", world.Toolstack.Read(guest.Id, "sectors"));
        world.Backend.Insert(guest.Id, world.NewImage());
        Assert.Equal((byte)0, ReadByte(guest));
        world.RestartBackend();
        Wait.Until(() => world.Status(guest.Id) is { IsConnected: true }, "the drive is served again");
        Assert.Equal((byte)0, ReadByte(guest));
    }

    [Fact]
    public void What_is_put_in_by_the_name_of_the_disc_before_is_what_has_that_name_now()
    {
        using World world = new(xenstored);
        string disc = world.NewImage("disc.iso");
        Guest guest = world.Connected(
            new DiskRequest
            {
                Params = "aio:" + disc,
                DeviceType = "cdrom",
                Removable = true,
                Mode = "r",
            }
        );
        Assert.Equal((byte)0, ReadByte(guest));
        File.Delete(disc);
        File.WriteAllBytes(disc, [.. Enumerable.Repeat((byte)3, 1024 * Disk.SectorBytes)]);
        Assert.Equal((byte)0, ReadByte(guest));
        world.Backend.Insert(guest.Id, disc);
        Assert.Equal("1024", world.Toolstack.Read(guest.Id, "sectors"));
        Assert.Equal((byte)3, ReadByte(guest));
    }

    [Theory]
    [InlineData("aio:/nonexistent.iso")]
    [InlineData("vhd:/disc.vhd")]
    [Proves("F15")]
    public void A_drive_whose_disc_went_while_no_daemon_was_there_is_empty_and_stays(string gone)
    {
        using World world = new(xenstored);
        string disc = world.NewImage();
        Guest guest = world.Connected(
            new DiskRequest
            {
                Params = "aio:" + disc,
                DeviceType = "cdrom",
                Removable = true,
                Mode = "r",
            }
        );
        Assert.True(world.Backend.Stop(Wait.Limit));
        world.Store.Write(Toolstack.BackendPath(guest.Id) + "/params", gone);
        world.StartBackend();
        Wait.Until(() => world.Toolstack.Read(guest.Id, "sectors") == "0", "the drive is empty");
        Wait.Until(() => world.Status(guest.Id) is { IsConnected: true }, "the drive is served again");
        Assert.Equal(Blkif.RspError, Ask(guest, Blkif.OpRead));
        world.Backend.Insert(guest.Id, disc);
        Assert.Equal((byte)0, ReadByte(guest));
        // A drive that was just attached has no guest yet that could lose its disc.
        Guest other = world.Attach(
            new DiskRequest
            {
                Params = gone,
                Script = null,
                DeviceType = "cdrom",
                Removable = true,
                Mode = "r",
            }
        );
        world.Toolstack.WaitFor(other.Id, XenbusState.Closing);
    }

    [Fact]
    [Proves("F15")]
    public void A_disk_cannot_be_ejected()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        Assert.Contains(
            "neither a CD-ROM nor removable",
            Assert.Throws<XenbusCommandException>(() => world.Backend.Eject(guest.Id)).Message,
            StringComparison.Ordinal
        );
        guest.VerifyIo(20);
    }

    [Fact]
    public async Task Pause_and_resume_under_load_lose_nothing()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        Task<Loopback.WorkloadResult> load = Task.Run(() =>
            guest.NewWorkload(guest.Frontend).Run(32, TimeSpan.FromMilliseconds(500))
        );
        for (int round = 0; round < 5; round++)
        {
            world.Backend.Pause(guest.Id);
            Assert.True(world.Status(guest.Id)!.IsPaused);
            Assert.All(world.Status(guest.Id)!.Queues, queue => Assert.Equal(0, queue.InFlight));
            world.Backend.Resume(guest.Id);
        }
        Guest.Right(await load);
        Guest.Right(guest.NewWorkload(guest.Frontend).Sweep());
    }

    [Fact]
    public void A_paused_device_can_be_detached()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        world.Backend.Pause(guest.Id);
        world.Toolstack.Detach(guest.Id);
        guest.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
        Assert.False(guest.AnyMapped);
    }

    [Theory]
    [InlineData(CacheMode.None)]
    [InlineData(CacheMode.Writeback)]
    [InlineData(CacheMode.Writethrough)]
    public void Every_cache_mode_serves(CacheMode cache)
    {
        using World world = new(xenstored, new BackendOptions { Device = _ => new DeviceOptions { Cache = cache } });
        string image = world.NewImage();
        bool direct;
        using (FileDisk probe = FileDisk.Open(image, new FileDiskOptions { Writable = true, Cache = cache }))
            direct = probe.Direct;

        Guest guest = world.Connected(new DiskRequest { Params = "aio:" + image });

        // It is not enough that requests succeed: the mode must reach the open file.
        int flags = OpenFlagsOf(image);
        Assert.Equal(direct, (flags & Interop.Libc.O_DIRECT) != 0);
        Assert.Equal(cache == CacheMode.Writethrough, (flags & Interop.Libc.O_DSYNC) != 0);
        guest.VerifyIo(50);
    }

    /// <summary>The flags with which this process has the file open, once.</summary>
    private static int OpenFlagsOf(string path)
    {
        string descriptor = Assert.Single(
            Directory.GetFileSystemEntries("/proc/self/fd"),
            link => new FileInfo(link).LinkTarget == path
        );
        string flags = File.ReadLines("/proc/self/fdinfo/" + Path.GetFileName(descriptor))
            .Single(line => line.StartsWith("flags:", StringComparison.Ordinal));
        return Convert.ToInt32(flags["flags:".Length..].Trim(), 8);
    }

    private static List<string> NextKeys(IXenstore watcher, int count)
    {
        List<string> keys = [];
        Wait.Until(
            () =>
            {
                while (watcher.CheckWatch(out string path, out _))
                    keys.Add(path[(path.LastIndexOf('/') + 1)..]);
                return keys.Count >= count;
            },
            "the keys change"
        );
        return keys;
    }

    /// <summary>One request of one sector, and its status.</summary>
    private static unsafe short Ask(Guest guest, int operation, long sector = 0)
    {
        Loopback.Frontend frontend = guest.Frontend;
        Blkif.DecodedRequest request = new()
        {
            Operation = (byte)operation,
            Id = 77,
            SectorNumber = (ulong)sector,
        };
        if (operation == Blkif.OpDiscard)
            request.NrSectors = 1;
        else
        {
            request.NrSegments = 1;
            request.Seg[0].Gref = frontend.GrantOf(0, 0, readOnly: false).Value;
        }
        frontend.Put(in request);
        frontend.Push();
        Blkif.DecodedResponse response = default;
        while (!frontend.TryTake(ref response))
            if (!frontend.FinalCheckForResponses())
                Assert.True(frontend.WaitForEvent((int)Wait.Limit.TotalMilliseconds), "no response came");
        return response.Status;
    }

    private static unsafe byte ReadByte(Guest guest)
    {
        Assert.Equal(Blkif.RspOkay, Ask(guest, Blkif.OpRead));
        return *guest.Frontend.BufferOf(0, 0);
    }
}
