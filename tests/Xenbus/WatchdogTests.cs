using Blkring.Engine.Disks;
using Blkring.Engine.Xenbus;
using Blkring.Interop;
using Blkring.Xenbus.Tests.Kit;

namespace Blkring.Xenbus.Tests;

/// <summary>Only what a restart would mend keeps the watchdog from being fed.</summary>
public sealed class WatchdogTests(Xenstored xenstored) : IClassFixture<Xenstored>
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(2);

    [Fact]
    public void An_open_that_hangs_shows_in_the_list_and_is_no_reason_for_a_restart()
    {
        using HangingImages images = new();
        using World world = new(xenstored, images.Options with { RoundLimit = s_limit });
        Guest sick = world.Attach(new DiskRequest { Params = world.NewImage(HangingImages.Name), Mode = "r" });
        images.AwaitHung();
        Wait.Until(() => world.Status(sick.Id) is { Delay: not null }, "the delay shows");
        DeviceDelay delay = world.Status(sick.Id)!.Delay!;
        Assert.Equal("opening the image", delay.What);
        Wait.Until(() => world.Status(sick.Id)!.Delay!.Lasted > 2 * s_limit, "it lasts");
        Assert.Null(world.Backend.Sickness);
        images.Release();
        sick.Connect(world.Toolstack);
        Assert.Null(world.Status(sick.Id)!.Delay);
    }

    [Fact]
    public void A_flush_that_hangs_shows_in_the_list_and_is_no_reason_for_a_restart()
    {
        using HungDisk disk = new(World.Sectors);
        using HangingImages images = new(disk);
        using World world = new(xenstored, images.Options with { RoundLimit = s_limit });
        Guest sick = world.Connected(new DiskRequest { Params = "aio:" + HangingImages.SlowDisk }),
            well = world.Connected();
        sick.PutFlush();
        Wait.Until(() => world.Status(sick.Id)!.Delay is { } delay && delay.Lasted > 2 * s_limit, "it lasts");
        Assert.Equal("a request in its disk", world.Status(sick.Id)!.Delay!.What);
        Assert.Null(world.Status(well.Id)!.Delay);
        Assert.Null(world.Backend.Sickness);
        well.VerifyIo(20);
        disk.Release();
        world.Reactor.Kick(Assert.Single(world.Status(sick.Id)!.Queues));
        Wait.Until(() => world.Status(sick.Id)!.Delay is null, "it is over");
    }

    [Fact]
    public unsafe void A_thread_in_a_system_call_that_does_not_return_is_no_reason_for_a_restart()
    {
        using World world = new(xenstored, new BackendOptions { RoundLimit = s_limit });
        using EventFd end = new();
        Thread stuck = new(() =>
            world.Reactor.Invoke(() =>
            {
                pollfd entry = new() { fd = end.Value, events = Libc.POLLIN };
                Libc.Poll(&entry, 1, -1);
            })
        );
        stuck.IsBackground = true;
        stuck.Start();
        Wait.Until(
            () => world.Log.Lines.Any(line => line.Contains("is stuck in the kernel", StringComparison.Ordinal)),
            "it is logged"
        );
        Assert.Null(world.Backend.Sickness);
        end.Signal();
        stuck.Join();
        world.Connected().VerifyIo(20);
    }

    [Fact]
    public void A_pass_that_never_ends_is_a_reason_for_a_restart()
    {
        using World world = new(xenstored, new BackendOptions { RoundLimit = s_limit });
        bool end = false;
        Thread spinning = new(() =>
            world.Reactor.Invoke(() =>
            {
                while (!Volatile.Read(ref end))
                    Thread.SpinWait(100);
            })
        );
        spinning.IsBackground = true;
        spinning.Start();
        Wait.Until(() => !world.Backend.IsHealthy, "the watchdog is no longer fed");
        Assert.Contains("the I/O thread blkring-io", world.Backend.Sickness, StringComparison.Ordinal);
        Volatile.Write(ref end, true);
        spinning.Join();
        Wait.Until(() => world.Backend.IsHealthy, "it has come round");
    }
}
