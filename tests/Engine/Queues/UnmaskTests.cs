using Blkring.Abi;
using Blkring.Engine.Queues;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests.Queues;

/// <summary>
/// When a masked event channel is unmasked: after the work, never while there is more of it, never for a queue that
/// takes nothing.
/// </summary>
public sealed class UnmaskTests
{
    [Theory, EveryAbi]
    public void An_event_is_unmasked_once_and_after_the_final_check(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Run();
        Assert.False(rig.Queue.FinalCheckForRequests());
        rig.Queue.UnmaskEvents();
        Assert.Equal(0, rig.Witness.Unmasks);

        rig.Put(rig.Request(Blkif.OpRead, 0, (0, 7)));
        Assert.True(rig.Frontend.Push());
        rig.Queue.ConsumeEvent();
        rig.Run();
        // The ring is empty, but nobody has asked for the next event yet: one posted now would stay unnoticed.
        rig.Queue.UnmaskEvents();
        Assert.Equal(0, rig.Witness.Unmasks);

        Assert.False(rig.Queue.FinalCheckForRequests());
        rig.Queue.UnmaskEvents();
        rig.Queue.UnmaskEvents();
        Assert.Equal(1, rig.Witness.Unmasks);
    }

    [Theory, EveryAbi]
    public void A_request_that_the_final_check_finds_keeps_the_channel_masked(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Queue.ConsumeEvent();
        rig.Run();
        rig.Put(rig.Request(Blkif.OpRead, 0, (0, 7)));
        rig.Frontend.Push();
        Assert.True(rig.Queue.FinalCheckForRequests());
        rig.Queue.UnmaskEvents();
        Assert.Equal(0, rig.Witness.Unmasks);

        rig.Run();
        Assert.False(rig.Queue.FinalCheckForRequests());
        rig.Queue.UnmaskEvents();
        Assert.Equal(1, rig.Witness.Unmasks);
    }

    [Theory, EveryAbi]
    public void An_event_without_a_request_is_unmasked_later_each_time(BlkifProtocol protocol)
    {
        HandClock clock = new();
        using Rig rig = new(protocol, new RigOptions { Clock = clock });
        Assert.Equal((0, 1), AfterEvent());
        int unmasks = 1;
        foreach (int holdMs in (int[])[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024])
        {
            Assert.Equal((holdMs * 1_000_000L, unmasks), AfterEvent());
            // Passes for other reasons do not shorten it.
            clock.Advance(TimeSpan.FromMilliseconds(holdMs - 0.5));
            (long leftNs, int still) = Rest(rig);
            Assert.Equal(unmasks, still);
            Assert.InRange(leftNs, 500_000, 501_000);
            clock.Advance(TimeSpan.FromMilliseconds(0.501));
            Assert.Equal((0, ++unmasks), Rest(rig));
        }
        // A request ends it, also one that was found without the event.
        Assert.Equal((1024 * 1_000_000L, unmasks), AfterEvent());
        rig.Put(rig.Request(Blkif.OpRead, 0, (0, 7)));
        rig.Frontend.Push();
        Assert.Equal((0, ++unmasks), Rest(rig));
        Assert.Equal((0, ++unmasks), AfterEvent());
        Assert.Equal((1_000_000L, unmasks), AfterEvent());
        Assert.Equal(0, rig.Witness.Notifications);

        (long HoldNs, int Unmasks) AfterEvent()
        {
            rig.Queue.ConsumeEvent();
            return Rest(rig);
        }
    }

    [Theory, EveryAbi]
    public void A_drained_queue_stays_masked_until_it_is_attached_again(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Run();
        Assert.False(rig.Queue.FinalCheckForRequests());
        rig.Queue.DetachRing();
        rig.Queue.ConsumeEvent();
        Rest(rig);
        Assert.Equal(0, rig.Witness.Unmasks);

        rig.Queue.AttachRing();
        Rest(rig);
        Assert.Equal(1, rig.Witness.Unmasks);
    }

    [Theory, EveryAbi]
    public void A_broken_ring_stays_masked(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Run();
        Assert.False(rig.Queue.FinalCheckForRequests());
        rig.Frontend.SharedRequestProducer = 1u << 31;
        rig.Queue.ConsumeEvent();
        Rest(rig);
        Assert.True(rig.Queue.IsBroken);
        Assert.Equal(0, rig.Witness.Unmasks);
    }

    [Theory, EveryAbi]
    public void A_queue_without_a_free_slot_stays_masked_until_it_has_one(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, new RigOptions { MaxInFlight = 1 });
        for (int i = 0; i < 2; i++)
            rig.Put(rig.Request(Blkif.OpRead, 0, (0, 7)));
        rig.Frontend.Push();
        rig.Queue.ConsumeEvent();
        Rest(rig);
        Assert.Equal(1, rig.Queue.InFlight);
        Assert.Equal(0, rig.Witness.Unmasks);

        rig.FinishDisk();
        Rest(rig);
        Assert.Equal(2, rig.Responses().Count);
        Assert.Equal(1, rig.Witness.Unmasks);
    }

    /// <summary>What a reactor does until it would sleep.</summary>
    private static (long HoldNs, int Unmasks) Rest(Rig rig)
    {
        do rig.Run();
        while (rig.Queue.FinalCheckForRequests());
        long holdNs = rig.Queue.UnmaskEvents();
        return (holdNs, rig.Witness.Unmasks);
    }
}
