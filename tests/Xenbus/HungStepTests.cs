using Blkring.Engine.Errors;
using Blkring.Engine.Queues;
using Blkring.Engine.Xenbus;
using Blkring.Xenbus.Tests.Kit;

namespace Blkring.Xenbus.Tests;

/// <summary>An image that does not answer when it is opened costs its own device only.</summary>
public sealed class HungStepTests(Xenstored xenstored) : IClassFixture<Xenstored>
{
    [Fact]
    public async Task A_step_that_hangs_takes_no_time_to_drain_from_other_devices()
    {
        using HungDisk slow = new(World.Sectors);
        using HangingImages images = new(slow);
        using World world = new(xenstored, images.Options);
        Guest well = world.Connected(),
            busy = world.Connected(new DiskRequest { Params = "aio:" + HangingImages.SlowDisk });
        busy.PutRead();
        Wait.Until(() => slow.HasRequests, "the disk has the request");
        VbdQueue queue = Assert.Single(world.Status(busy.Id)!.Queues);
        Guest sick = world.Attach(new DiskRequest { Params = world.NewImage(HangingImages.Name), Mode = "r" });
        images.AwaitHung();

        Task<bool> stop = Task.Run(() => world.Backend.Stop(TimeSpan.FromSeconds(5)), CancellationToken.None);
        // Its disk answers while it is drained.
        Wait.Until(() => !queue.IsAttached, "the busy device is drained");
        slow.Release();
        world.Reactor.Kick(queue);
        Wait.Until(() => !busy.AnyMapped && !well.AnyMapped, "the other devices have left");
        Assert.False(stop.IsCompleted);
        Assert.False(await stop);
        foreach (Guest guest in (Guest[])[well, busy])
            Assert.Equal(XenbusState.Connected, world.Toolstack.BackendState(guest.Id));
        images.Release();
        world.StartBackend();
        Wait.Until(() => world.Status(well.Id) is { IsConnected: true }, "the device is taken over");
        well.VerifyIo(20);
        sick.Connect(world.Toolstack);
    }

    [Fact]
    public async Task Commands_that_hang_hold_up_no_step_of_another_device()
    {
        using HangingImages images = new();
        using World world = new(xenstored, images.Options);
        // More than the pool has threads for steps.
        Guest[] sick = [.. Enumerable.Range(0, 6).Select(_ => world.Connected(Drive(world)))];
        Task[] commands = [.. sick.Select(guest => Insert(world, guest))];
        images.AwaitHung(sick.Length);
        // Each has an event, so that its step is due.
        foreach (Guest guest in sick)
            guest.SetState(XenbusState.Connected);
        Guest well = world.Connected();
        well.VerifyIo(20);
        Assert.All(commands, command => Assert.False(command.IsCompleted));

        images.Release();
        await Task.WhenAll(commands);
        foreach (Guest guest in sick)
        {
            guest.SetState(XenbusState.Closed);
            world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
        }
    }

    [Fact]
    public void A_command_that_hangs_is_answered_in_time_and_so_is_the_next_one()
    {
        using HangingImages images = new();
        using World world = new(
            xenstored,
            images.Options with
            {
                CommandTimeout = TimeSpan.FromMilliseconds(200),
                DrainTimeout = TimeSpan.FromMilliseconds(200),
            }
        );
        Guest sick = world.Connected(Drive(world));
        string image = world.NewImage(HangingImages.Name);
        // The first one hangs in the open, the second one waits for the first.
        for (int i = 0; i < 2; i++)
        {
            XenbusCommandException error = Assert.Throws<XenbusCommandException>(() =>
                world.Backend.Insert(sick.Id, image)
            );
            Assert.Equal(ErrorCode.DeviceBusy, error.Code);
        }
        images.AwaitHung();

        images.Release();
        string key = Toolstack.BackendPath(sick.Id) + "/params";
        Wait.Until(() => world.Store.Read(key) == "aio:" + image, "the command ends when the path answers");
    }

    [Fact]
    public async Task What_a_step_could_not_do_because_of_a_command_is_done_after_it()
    {
        using HangingImages images = new();
        using World world = new(xenstored, images.Options);
        Guest guest = world.Connected(Drive(world));
        Task command = Insert(world, guest);
        images.AwaitHung();
        guest.SetState(XenbusState.Closed);
        // Events come in order: when this one is connected, the step of the first has been tried.
        world.Connected();
        Assert.Equal(XenbusState.Connected, world.Toolstack.BackendState(guest.Id));
        images.Release();
        await command;
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
    }

    private static Task Insert(World world, Guest guest)
    {
        string image = world.NewImage(HangingImages.Name);
        return Task.Factory.StartNew(
            () => world.Backend.Insert(guest.Id, image),
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default
        );
    }

    private static DiskRequest Drive(World world) =>
        new()
        {
            Params = "aio:" + world.NewImage($"disc-{Guid.NewGuid():N}.img"),
            Mode = "r",
            DeviceType = "cdrom",
        };
}
