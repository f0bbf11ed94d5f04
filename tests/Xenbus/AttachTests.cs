using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Xenbus;
using Blkring.Xenbus.Tests.Kit;

namespace Blkring.Xenbus.Tests;

/// <summary>
/// The orderly paths of a device's two states: attached, served, closed, opened again, removed.
/// </summary>
public sealed class AttachTests(Xenstored xenstored) : IClassFixture<Xenstored>
{
    [Theory]
    [InlineData(BlkifProtocol.X86_64, 1, 1)]
    [InlineData(BlkifProtocol.X86_32, 1, 1)]
    [InlineData(BlkifProtocol.X86_64, 16, 1)]
    [InlineData(BlkifProtocol.X86_64, 2, 4)]
    [Proves("F1")]
    public void A_device_is_attached_does_io_and_is_detached(BlkifProtocol protocol, int ringPages, int rings)
    {
        using World world = new(xenstored, new BackendOptions { Device = _ => new DeviceOptions { MaxQueues = 4 } });
        Guest guest = world.Connected(protocol: protocol, ringPages: ringPages, rings: rings);
        guest.VerifyIo();
        DeviceStatus status = world.Status(guest.Id)!;
        Assert.Equal((rings, ringPages, true), (status.Queues.Count, status.RingPages, status.IsConnected));
        Assert.Equal(rings == 1, world.Toolstack.Read(guest.Id, "feature-barrier") == "1");

        world.Toolstack.Detach(guest.Id);
        guest.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
        Assert.False(guest.AnyMapped);
        world.Toolstack.RemoveAreas(guest.Id);
        world.WaitUntilGone(guest.Id);
    }

    [Fact]
    public void Areas_that_are_there_before_the_daemon_are_served_and_a_frontend_may_have_published_already()
    {
        using World world = new(xenstored, start: false);
        Guest early = world.Attach(),
            later = world.Attach();
        early.Publish();
        world.StartBackend();
        world.Toolstack.WaitFor(early.Id, XenbusState.Connected);
        early.SetState(XenbusState.Connected);
        later.Connect(world.Toolstack);
        early.VerifyIo();
        later.VerifyIo();
    }

    [Fact]
    public void A_frontend_may_skip_Initialised()
    {
        using World world = new(xenstored);
        Guest guest = world.Attach();
        world.Toolstack.WaitFor(guest.Id, XenbusState.InitWait);
        guest.Publish(state: XenbusState.Connected);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Connected);
        guest.VerifyIo();
    }

    [Fact]
    public void A_closing_frontend_is_served_until_it_is_closed()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        guest.SetState(XenbusState.Closing);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closing);
        // The guest is still writing out its cache.
        guest.VerifyIo();
        Assert.True(guest.AnyMapped);
        guest.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
        Assert.False(guest.AnyMapped);
        Assert.Null(world.Status(guest.Id)!.Image);
    }

    [Fact]
    public void A_closed_frontend_that_comes_back_is_served_again_and_finds_its_data()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        for (int round = 0; round < 3; round++)
        {
            guest.VerifyIo(30);
            guest.SetState(XenbusState.Closing);
            world.Toolstack.WaitFor(guest.Id, XenbusState.Closing);
            guest.SetState(XenbusState.Closed);
            world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
            if (round == 2)
                break;
            guest.MakeRings();
            guest.SetState(XenbusState.Initialising);
            guest.Connect(world.Toolstack);
        }
    }

    [Fact]
    public void A_frontend_that_starts_anew_without_closing_gets_a_device_without_its_old_ring()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        guest.VerifyIo(30);
        IReadOnlyList<Loopback.Frontend> before = guest.Frontends;
        guest.MakeRings();
        guest.SetState(XenbusState.Initialising);
        guest.Connect(world.Toolstack);
        guest.VerifyIo(30);
        Assert.All(
            before,
            frontend => Assert.All(frontend.RingReferences, reference => Assert.False(guest.Domain.IsMapped(reference)))
        );
    }

    [Fact]
    public void A_frontend_that_publishes_new_rings_while_it_is_served_is_served_on_those()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        guest.VerifyIo(30);
        IReadOnlyList<Loopback.Frontend> before = guest.Frontends;
        guest.MakeRings();
        guest.Publish();
        Wait.Until(
            () =>
                guest.AnyMapped && guest.Frontends.All(frontend => frontend.RingReferences.All(guest.Domain.IsMapped)),
            "the new ring is mapped"
        );
        guest.SetState(XenbusState.Connected);
        guest.VerifyIo(30);
        Assert.Equal(XenbusState.Connected, world.Toolstack.BackendState(guest.Id));
        Assert.All(
            before,
            frontend => Assert.All(frontend.RingReferences, reference => Assert.False(guest.Domain.IsMapped(reference)))
        );
    }

    [Fact]
    public void A_guest_that_powers_itself_off_is_answered_and_its_device_waits_closed()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        guest.SetState(XenbusState.Closing);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closing);
        guest.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
        world.Toolstack.Detach(guest.Id);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
        world.Toolstack.RemoveAreas(guest.Id);
        world.WaitUntilGone(guest.Id);
    }

    [Fact]
    public void A_destroyed_guest_is_let_go_at_once()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        world.Toolstack.RemoveFrontend(guest.Id);
        world.Toolstack.Detach(guest.Id);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
        Assert.False(guest.AnyMapped);
    }

    [Fact]
    public void A_crashed_guest_whose_memory_and_channels_are_gone_stops_without_hanging()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected(),
            other = world.Connected();
        foreach (GrantReference reference in guest.Frontend.RingReferences)
            guest.Domain.Revoke(reference);
        world.Hypervisor.Remove(guest.Domain);
        world.Toolstack.RemoveFrontend(guest.Id);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
        other.VerifyIo();
    }

    [Fact]
    public void A_removed_frontend_area_counts_as_closed()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        world.Toolstack.RemoveFrontend(guest.Id);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
        Assert.False(guest.AnyMapped);
    }

    [Fact]
    public void A_removed_backend_area_is_cleaned_up_silently()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        world.Store.Remove(Toolstack.BackendPath(guest.Id));
        world.WaitUntilGone(guest.Id);
        Assert.False(guest.AnyMapped);
        Assert.Null(world.Store.Directory(Toolstack.BackendPath(guest.Id)));
        Assert.Empty(world.Log.Errors);
    }

    [Fact]
    public void The_whole_directory_may_go_and_come_back()
    {
        using World world = new(xenstored);
        Guest[] guests = [world.Connected(), world.Connected(), world.Attach()];
        world.Store.Remove("/local/domain/0/backend");
        foreach (Guest guest in guests)
            world.WaitUntilGone(guest.Id);
        Assert.All(guests, guest => Assert.False(guest.AnyMapped));
        Guest next = world.Connected();
        next.VerifyIo();
    }

    [Fact]
    public void An_area_that_is_made_again_in_its_place_is_another_device()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        guest.VerifyIo(30);
        string another = world.NewImage("another.img", 4096);
        guest.MakeRings();
        world.Toolstack.Attach(guest.Id, new DiskRequest { Params = "aio:" + another });
        guest.Connect(world.Toolstack);
        guest.Model = new(4096, 2);
        guest.VerifyIo();
        Assert.Equal("4096", world.Toolstack.Read(guest.Id, "sectors"));
    }

    [Fact]
    public void A_device_without_a_driver_in_the_guest_is_detached_at_once()
    {
        using World world = new(xenstored);
        Guest guest = world.Attach();
        world.Toolstack.WaitFor(guest.Id, XenbusState.InitWait);
        world.Toolstack.Detach(guest.Id);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
        world.Toolstack.RemoveAreas(guest.Id);
        world.WaitUntilGone(guest.Id);
    }

    [Fact]
    public void A_connected_device_is_closed_only_with_its_frontend_also_when_the_toolstack_asks()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        world.Toolstack.Detach(guest.Id);
        // Its requests are answered until it has unmounted the disk.
        guest.VerifyIo();
        Assert.Equal(XenbusState.Closing, world.Toolstack.BackendState(guest.Id));
        guest.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
    }

    [Fact]
    public void Online_0_alone_asks_the_guest_to_close()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        world.Store.Write(Toolstack.BackendPath(guest.Id) + "/online", "0");
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closing);
        guest.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
    }

    [Fact]
    public async Task A_device_is_unplugged_with_io_under_way_and_nothing_that_was_answered_is_lost()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        for (int round = 0; round < 3; round++)
        {
            Task<Loopback.WorkloadResult> load = Task.Run(() =>
                guest.NewWorkload(guest.Frontend).Run(32, TimeSpan.FromMilliseconds(300))
            );
            guest.SetState(XenbusState.Closing);
            world.Toolstack.WaitFor(guest.Id, XenbusState.Closing);
            Guest.Right(await load);
            guest.SetState(XenbusState.Closed);
            world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
            if (round == 2)
                break;
            guest.MakeRings();
            guest.SetState(XenbusState.Initialising);
            guest.Connect(world.Toolstack);
            Guest.Right(guest.NewWorkload(guest.Frontend).Sweep());
        }
    }

    [Theory]
    [InlineData("qdisk")]
    [InlineData("vbd")]
    public void Any_directory_can_be_served(string directory)
    {
        using World world = new(xenstored, new BackendOptions { Directory = directory });
        DiskRequest disk = new()
        {
            Params = "aio:" + world.NewImage(),
            Directory = directory,
            Type = directory,
            Script = null,
        };
        Guest guest = world.Attach(disk),
            ignored = world.Attach(new DiskRequest { Params = disk.Params });
        world.Toolstack.WaitFor(guest.Id, XenbusState.InitWait, directory);
        guest.Publish();
        world.Toolstack.WaitFor(guest.Id, XenbusState.Connected, directory);
        guest.VerifyIo();
        Assert.Equal(XenbusState.Initialising, world.Toolstack.BackendState(ignored.Id));
    }

    [Fact]
    public void A_backend_for_one_guest_leaves_the_others_alone()
    {
        DeviceId mine = World.NewId();
        using World world = new(xenstored, new BackendOptions { Frontend = mine.Frontend });
        Guest other = world.Attach(),
            guest = world.Attach(id: mine);
        guest.Connect(world.Toolstack);
        Assert.Equal(XenbusState.Initialising, world.Toolstack.BackendState(other.Id));
        Assert.Equal([mine], world.Backend.Devices.Select(device => device.Id));
    }

    [Fact]
    public void Dom0_itself_can_be_the_frontend()
    {
        using World world = new(xenstored);
        Guest guest = world.Attach(id: new DeviceId(new DomainId(0), 51712));
        guest.Connect(world.Toolstack);
        guest.VerifyIo();
        world.Toolstack.Detach(guest.Id);
        guest.SetState(XenbusState.Closed);
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closed);
    }

    [Fact]
    public void What_is_no_device_in_the_directory_is_ignored()
    {
        using World world = new(xenstored);
        foreach (string name in (string[])["4294967295/51712", "x/1", "07/1", "7/-1", "32752/1", "7"])
            world.Store.Write($"/local/domain/0/backend/vbd3/{name}/state", "1");
        Guest guest = world.Connected();
        Assert.Equal([guest.Id], world.Backend.Devices.Select(device => device.Id));
    }
}
