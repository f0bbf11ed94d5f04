using Blkring.Engine.Queues;
using Blkring.Engine.Xenbus;
using Blkring.Xenbus.Tests.Kit;

namespace Blkring.Xenbus.Tests;

/// <summary>A guest that was suspended and resumed in place publishes new rings without closing the old ones.</summary>
public sealed class ResumeTests(Xenstored xenstored) : IClassFixture<Xenstored>
{
    /// <param name="seen">
    /// The state in which the backend finds the frontend: Initialised, or Connected if the guest was faster.
    /// </param>
    [Theory]
    [InlineData(XenbusState.Initialised, 1)]
    [InlineData(XenbusState.Connected, 1)]
    [InlineData(XenbusState.Connected, 2)]
    public void A_resumed_guest_is_served_on_its_new_rings(XenbusState seen, int rings)
    {
        using World world = new(xenstored);
        Guest guest = world.Connected(rings: rings);
        guest.VerifyIo(20);
        for (int round = 0; round < 2; round++)
        {
            VbdQueue before = world.Status(guest.Id)!.Queues[0];
            Resume(guest, seen);
            Wait.Until(() => IsServedAnew(world, guest, before), "the new rings are served");
            guest.SetState(XenbusState.Connected);
            guest.VerifyIo(20);
        }
    }

    [Fact]
    public void The_rings_stay_where_a_connected_guest_writes_its_state_again()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        VbdQueue before = world.Status(guest.Id)!.Queues[0];
        guest.SetState(XenbusState.Connected);
        guest.VerifyIo(20);
        // A step that ends later than any that those events have caused.
        world.Store.Write(Toolstack.BackendPath(guest.Id) + "/online", "0");
        world.Toolstack.WaitFor(guest.Id, XenbusState.Closing);
        Assert.Same(before, world.Status(guest.Id)!.Queues[0]);
    }

    [Fact]
    public void Keys_that_a_connected_guest_takes_away_do_not_end_its_service()
    {
        using World world = new(xenstored);
        Guest guest = world.Connected();
        VbdQueue before = world.Status(guest.Id)!.Queues[0];
        // While it was Initialised, its keys were needed.
        Wait.Until(() => world.Status(guest.Id)!.FrontendState == XenbusState.Connected, "its state is seen");
        world.Store.Remove(guest.Path + "/ring-ref");
        guest.SetState(XenbusState.Connected);
        guest.VerifyIo(20);
        Assert.Same(before, world.Status(guest.Id)!.Queues[0]);
        Resume(guest, XenbusState.Connected);
        Wait.Until(() => IsServedAnew(world, guest, before), "the new rings are served");
        Assert.Equal(XenbusState.Connected, world.Toolstack.BackendState(guest.Id));
        Assert.Null(world.Toolstack.Error(guest.Id));
    }

    private static void Resume(Guest guest, XenbusState seen)
    {
        bool persistent = guest.Frontend.PersistentGrants;
        guest.MakeRings();
        foreach (Loopback.Frontend frontend in guest.Frontends)
            frontend.PersistentGrants = persistent;
        guest.Publish(state: seen);
    }

    private static bool IsServedAnew(World world, Guest guest, VbdQueue before) =>
        world.Status(guest.Id)!.Queues is [var now, ..] && now != before;
}
