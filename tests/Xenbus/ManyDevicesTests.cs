using System.Diagnostics;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Xenbus;
using Blkring.Xenbus.Tests.Kit;

namespace Blkring.Xenbus.Tests;

/// <summary>Many devices, and devices that try to starve the others.</summary>
public sealed class ManyDevicesTests(Xenstored xenstored) : IClassFixture<Xenstored>
{
    private const int Devices = 200;

    [Fact]
    public void Two_hundred_devices_come_and_go_at_once_and_leave_nothing_behind()
    {
        using ReactorPool reactors = new(new ReactorPoolOptions { Threads = 2 });
        using World world = new(
            xenstored,
            new BackendOptions
            {
                Device = _ => new DeviceOptions
                {
                    MaxInFlight = 4,
                    MaxIndirectSegments = 0,
                    Cache = CacheMode.Writeback,
                },
            },
            reactors: reactors
        );
        string image = world.NewImage();
        Guest[] guests = [.. Enumerable.Range(0, Devices).Select(_ => world.NewGuest(spare: 0))];
        // The first device of each reactor makes some allocations that happen once: do them before counting.
        Round(guests[..2]);
        int descriptors = OpenDescriptors();
        int threads = Process.GetCurrentProcess().Threads.Count;

        Round(guests);

        Assert.All(guests, guest => Assert.False(guest.AnyMapped));
        Assert.Equal(descriptors, OpenDescriptors());
        Assert.InRange(Process.GetCurrentProcess().Threads.Count, 1, threads + 24);
        Assert.Empty(world.Log.Errors);

        void Round(Guest[] some)
        {
            foreach (Guest guest in some)
                world.Toolstack.Attach(guest.Id, new DiskRequest { Params = "aio:" + image, Mode = "r" });
            foreach (Guest guest in some)
            {
                world.Toolstack.WaitFor(guest.Id, XenbusState.InitWait);
                guest.Publish();
            }
            foreach (Guest guest in some)
            {
                world.Toolstack.WaitFor(guest.Id, XenbusState.Connected);
                guest.SetState(XenbusState.Connected);
            }
            Assert.Equal(some.Length, world.Backend.Devices.Count(device => device.IsConnected));
            foreach (Guest guest in some)
                world.Toolstack.Detach(guest.Id);
            foreach (Guest guest in some)
                guest.SetState(XenbusState.Closed);
            foreach (Guest guest in some)
                world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
            foreach (Guest guest in some)
                world.Toolstack.RemoveAreas(guest.Id);
            Wait.Until(() => world.Backend.Devices.Count == 0, "all are forgotten");
        }
    }

    [Fact]
    public async Task A_guest_that_writes_in_a_storm_delays_nobody()
    {
        using World world = new(xenstored);
        Guest stormy = world.Connected();
        using CancellationTokenSource calm = new();
        long writes = 0;
        string ring = stormy.Frontend.RingReferences[0].ToString();
        Task storm = Task.Run(
            () =>
            {
                using IXenstore store = xenstored.Connect();
                while (!calm.IsCancellationRequested)
                {
                    store.Write(stormy.Path + "/state", "4");
                    store.Write(stormy.Path + "/ring-ref", ring);
                    writes++;
                }
            },
            CancellationToken.None
        );

        for (int round = 0; round < 5; round++)
        {
            Guest other = world.Connected();
            other.VerifyIo(20);
            world.Toolstack.Detach(other.Id);
            other.SetState(XenbusState.Closed);
            world.Toolstack.WaitFor(other.Id, XenbusState.Closed);
            Assert.True(world.Backend.SinceLastTurn < TimeSpan.FromSeconds(5));
        }
        await calm.CancelAsync();
        await storm;
        Assert.True(writes > 500, $"{writes} writes are no storm");
        stormy.VerifyIo(20);
        Assert.Empty(world.Log.Errors);
        Assert.InRange(
            world.Log.Lines.Count(line => line.Contains($"device {stormy.Id}:", StringComparison.Ordinal)),
            1,
            10
        );
    }

    [Fact]
    public void A_disk_that_hangs_when_it_is_opened_holds_up_its_own_device_and_no_other()
    {
        using ManualResetEventSlim opens = new();
        using World world = new(
            xenstored,
            new BackendOptions
            {
                OpenImage = (path, options) =>
                {
                    if (path.EndsWith("hangs.img", StringComparison.Ordinal))
                        opens.Wait();
                    return FileDisk.Open(path, options);
                },
            }
        );
        string hangs = world.NewImage("hangs.img");
        // More than the pool has threads for steps.
        Guest[] sick =
        [
            .. Enumerable.Range(0, 12).Select(_ => world.Attach(new DiskRequest { Params = hangs, Mode = "r" })),
        ];
        Guest well = world.Connected();
        well.VerifyIo(20);
        Assert.All(sick, guest => Assert.Equal(XenbusState.Initialising, world.Toolstack.BackendState(guest.Id)));
        Assert.True(world.Backend.IsHealthy);
        opens.Set();
        foreach (Guest guest in sick)
            guest.Connect(world.Toolstack);
    }

    [Fact]
    public unsafe void A_disk_that_hangs_with_requests_is_waited_for_in_the_background()
    {
        using HungDisk disk = new(World.Sectors);
        using World world = new(
            xenstored,
            new BackendOptions
            {
                DrainTimeout = TimeSpan.FromMilliseconds(50),
                OpenImage = (path, options) => path == "/hung" ? disk : FileDisk.Open(path, options),
            }
        );
        Guest sick = world.Connected(new DiskRequest { Params = "aio:/hung" }),
            well = world.Connected();
        Blkif.DecodedRequest request = new() { Operation = Blkif.OpRead, NrSegments = 1 };
        request.Seg[0].Gref = sick.Frontend.GrantOf(0, 0, readOnly: false).Value;
        sick.Frontend.Put(in request);
        sick.Frontend.Push();
        Wait.Until(() => disk.HasRequests, "the disk has the request");
        Assert.Contains(
            "still has requests",
            Assert.Throws<XenbusCommandException>(() => world.Backend.Pause(sick.Id)).Message,
            StringComparison.Ordinal
        );

        world.Toolstack.RemoveFrontend(sick.Id);
        world.Toolstack.Detach(sick.Id);
        Wait.Until(() => world.Status(sick.Id) is { IsStopping: true }, "the device is reported as stopping");
        well.VerifyIo(20);
        world.Toolstack.Detach(well.Id);
        well.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(well.Id, XenbusState.Closed);
        Assert.Equal(XenbusState.Closing, world.Toolstack.BackendState(sick.Id));
        Assert.False(disk.IsDisposed);

        disk.Release();
        foreach (VbdQueue queue in world.Status(sick.Id)!.Queues)
            world.Reactor.Kick(queue);
        world.Toolstack.WaitFor(sick.Id, XenbusState.Closed);
        Assert.True(disk.IsDisposed);
        Assert.False(sick.AnyMapped);
    }

    /// <summary>Those that only wait for a finaliser are closed first.</summary>
    private static int OpenDescriptors()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return Directory.GetFileSystemEntries("/proc/self/fd").Length;
    }
}
