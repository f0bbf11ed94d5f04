using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Vbds;

namespace Blkring.Engine.Tests.Vbds;

/// <summary>The mappings that devices may have: ranges of the kernel's, and grants of the hypervisor's.</summary>
public sealed class MappingBudgetTests
{
    /// <summary>What Linux keeps per ring, and the ranges that this takes at the default length of requests.</summary>
    private const int Least = 1056;

    private static readonly DomainId s_guest = new(7),
        s_other = new(8);

    [Theory]
    [InlineData("1000\n", 750)]
    [InlineData("262144", 196_608)]
    // The kernel's default, where it does not say.
    [InlineData("no number", 49_146)]
    [InlineData(null, 49_146)]
    public void A_quarter_of_the_kernels_limit_is_left_for_everything_else(string? limit, int ranges)
    {
        List<string> asked = [];
        MappingBudget budget = MappingBudget.Of(path =>
        {
            asked.Add(path);
            return limit ?? throw new FileNotFoundException();
        });
        Assert.Equal(["/proc/sys/vm/max_map_count"], asked);
        Assert.False(budget.TryTake(s_guest, new MappedShare(ranges + 1, 0)));
        Assert.True(budget.TryTake(s_guest, new MappedShare(ranges, 0)));
        Assert.False(budget.TryTake(s_guest, new MappedShare(1, 0)));
    }

    [Fact]
    public void One_guest_has_at_most_half_of_the_grants_and_what_is_spare_leaves_half_of_each()
    {
        MappingBudget budget = new(ranges: 100, grants: 1000);
        Assert.False(budget.TryTake(s_guest, new MappedShare(1, 501)));
        Assert.False(budget.TryTake(s_guest, new MappedShare(1, 251), isSpare: true));
        Assert.False(budget.TryTake(s_guest, new MappedShare(51, 1), isSpare: true));
        Assert.True(budget.TryTake(s_guest, new MappedShare(1, 250), isSpare: true));
        Assert.True(budget.TryTake(s_guest, new MappedShare(1, 250)));
        Assert.False(budget.TryTake(s_guest, new MappedShare(1, 1)));
        Assert.False(budget.TryTake(s_other, new MappedShare(1, 1), isSpare: true));
        Assert.True(budget.TryTake(s_other, new MappedShare(1, 500)));
        Assert.False(budget.TryTake(new DomainId(9), new MappedShare(1, 1)));
        // An empty share can always be taken.
        Assert.True(budget.TryTake(s_guest, default));
        Assert.Equal((1000, 1000), (budget.TakenGrants, budget.MaxGrants));
        budget.Return(s_guest, new MappedShare(1, 250));
        Assert.True(budget.TryTake(new DomainId(9), new MappedShare(1, 250)));
        Assert.False(budget.TryTake(s_guest, new MappedShare(1, 1)));
    }

    [Fact]
    public void Large_rings_of_one_guest_leave_room_for_those_that_connect_later()
    {
        using Reactor reactor = new();
        MappingBudget budget = new(ranges: 1 << 16);
        VbdOptions options = new() { GrantMode = GrantMode.Persistent, MappingBudget = budget };
        using (
            Device large = new(reactor, BlkifProtocol.X86_64, new MemoryDisk(4096), 16, options, domain: 7, rings: 4)
        )
        {
            // Four times 32768 would be half of what Xen has for dom0.
            Assert.Equal((2 * 32_768) + (2 * Least), large.Vbd.MaxMappedPages);
            using Device again = new(reactor, BlkifProtocol.X86_64, new MemoryDisk(4096), 16, options, rings: 4);
            Assert.Equal(4 * Least, again.Vbd.MaxMappedPages);
            using Device other = new(reactor, BlkifProtocol.X86_64, new MemoryDisk(4096), 16, options, domain: 8);
            Assert.Equal(32_768, other.Vbd.MaxMappedPages);
            Assert.Equal((3 * 32_768) + (6 * Least), budget.TakenGrants);
        }
        Assert.Equal(0, budget.TakenGrants);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData((2 * Least) - 1, 0)]
    [InlineData(2 * Least, Least)]
    [InlineData(4 * 2048, 2048)]
    public void A_queue_maps_what_there_is_room_for_and_copies_the_rest(int grants, int mapped)
    {
        using Reactor reactor = new();
        MappingBudget budget = new(ranges: 1 << 16, grants);
        VbdOptions options = new() { GrantMode = GrantMode.Persistent, MappingBudget = budget };
        using Device device = new(reactor, BlkifProtocol.X86_64, new MemoryDisk(4096), options: options);
        Assert.Equal((mapped, mapped), (device.Vbd.MaxMappedPages, budget.TakenGrants));
        Assert.True(device.Work(TimeSpan.FromMilliseconds(50)).IsRight);
        QueueStatistics statistics = device.Queue.Statistics;
        Assert.Equal(mapped > 0, statistics.GrantMapPages > 0);
        Assert.Equal(mapped == 0, statistics.GrantCopyCalls > 0);
        Assert.True(device.Vbd.Stop(Wait.Limit));
        Assert.Equal((0, statistics.GrantMapPages), (budget.TakenGrants, statistics.GrantUnmapPages));
    }
}
