using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Vbds;

namespace Blkring.Engine.Tests.Reactors;

/// <summary>A thread that unmaps many pages of one guest serves the others in between.</summary>
public sealed class UnmapShareTests : IDisposable
{
    private const int Ranges = 100;

    /// <summary>Ends no wait, and runs no round.</summary>
    private static readonly TimeSpan s_noWait = TimeSpan.FromTicks(-1);

    private readonly Reactor _reactor = new(
        new ReactorOptions
        {
            OwnThread = false,
            UseIoUring = false,
            IdleGrantsInterval = TimeSpan.Zero,
        }
    );

    public void Dispose() => _reactor.Dispose();

    [Fact]
    public void A_guest_that_disconnects_gives_its_pages_back_in_shares_between_which_others_are_served()
    {
        using Device leaving = Mapped(PersistentGrantsFor.Ever),
            staying = Connect(8, PersistentGrantsFor.Ever);
        int rounds = 0,
            served = 0;
        for (; !_reactor.Remove(leaving.Queue, s_noWait); rounds++)
        {
            Assert.InRange(rounds, 0, Ranges);
            staying.Frontend.Put(Requests.Of(staying.Frontend, 0, Blkif.OpWrite, 0, Requests.Pages(1)));
            staying.Frontend.Push();
            _reactor.Kick(staying.Queue);
            Assert.InRange(UnmappedBy(leaving), 0, CarriedQueues.UnmapShare);
            Blkif.DecodedResponse response = default;
            served += staying.Frontend.TryTake(ref response) ? 1 : 0;
        }
        Assert.Equal(Ranges, leaving.Queue.Statistics.GrantUnmapPages);
        Assert.InRange(rounds, Ranges / CarriedQueues.UnmapShare, Ranges);
        Assert.Equal(rounds, served);
    }

    [Fact]
    public void Pages_that_nobody_uses_go_in_shares_as_well()
    {
        using Device device = Mapped(PersistentGrantsFor.NoTime);
        for (int round = 0; device.Queue.Statistics.GrantUnmapPages < Ranges; round++)
        {
            Assert.InRange(round, 0, 100_000);
            Assert.InRange(UnmappedBy(device), 0, CarriedQueues.UnmapShare);
        }
    }

    private enum PersistentGrantsFor
    {
        Ever,
        NoTime,
    }

    private long UnmappedBy(Device device)
    {
        long before = device.Queue.Statistics.GrantUnmapPages;
        _reactor.RunOnce();
        return device.Queue.Statistics.GrantUnmapPages - before;
    }

    private Device Connect(ushort domain, PersistentGrantsFor idle) =>
        new(
            _reactor,
            BlkifProtocol.X86_64,
            new MemoryDisk(4096),
            ringPages: 4,
            new VbdOptions
            {
                GrantMode = GrantMode.Persistent,
                PersistentIdle = idle == PersistentGrantsFor.Ever ? TimeSpan.FromDays(1) : TimeSpan.Zero,
            },
            domain: domain
        );

    /// <summary>A device with so many ranges mapped, of a page each: each page comes in a pass of its own.</summary>
    private Device Mapped(PersistentGrantsFor idle)
    {
        Device device = Connect(7, idle);
        for (int slot = 0; slot < Ranges; slot++)
        {
            device.Frontend.Put(Requests.Of(device.Frontend, slot, Blkif.OpWrite, 0, Requests.Pages(1)));
            device.Frontend.Push();
            _reactor.Kick(device.Queue);
            Blkif.DecodedResponse response = default;
            for (int round = 0; !device.Frontend.TryTake(ref response); round++)
            {
                Assert.InRange(round, 0, 100);
                _reactor.RunOnce();
            }
        }
        Assert.Equal((Ranges, 0), (device.Queue.Statistics.GrantMapPages, device.Queue.Statistics.GrantUnmapPages));
        return device;
    }
}
