using Blkring.Engine.Memory;
using Blkring.Engine.Queues;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests.Queues.Parts;

public sealed class QueuePlanTests
{
    private const int Entries = 32;

    [Theory]
    [InlineData(null, Entries)]
    [InlineData(0, 1)]
    [InlineData(5, 5)]
    [InlineData(1000, Entries)]
    public void There_is_at_least_one_slot_and_at_most_one_per_entry_of_the_ring(int? asked, int slots) =>
        Assert.Equal(slots, Plan(new VbdQueueOptions { MaxInFlight = asked }).Slots);

    [Fact]
    public void Requests_that_a_killed_daemon_left_have_room_whatever_the_options_are()
    {
        VbdQueueOptions options = new() { MaxInFlight = 2, MaxIndirectSegments = 16 };
        using ScriptedDisk disk = new(64);
        QueuePlan plan = new(options, disk, Entries, new JournalSize(20, 64));
        Assert.Equal((20, 64), (plan.Slots, plan.MaxIndirectSegments));
        Assert.True(plan.PoolPages >= plan.RunPagesOf(64));
        Assert.Equal(100, new QueuePlan(WithIndirect(100), disk, Entries, new JournalSize(20, 64)).MaxIndirectSegments);
    }

    [Theory]
    [InlineData(-5, 0)]
    [InlineData(4096, VbdQueueOptions.IndirectSegmentsLimit)]
    [InlineData(100_000, VbdQueueOptions.IndirectSegmentsLimit)]
    public void Segments_of_an_indirect_request_stay_within_the_limit(int asked, int segments) =>
        Assert.Equal(segments, Plan(WithIndirect(asked)).MaxIndirectSegments);

    [Theory]
    [InlineData(false, false, false)]
    [InlineData(true, false, true)]
    [InlineData(false, true, true)]
    public void A_queue_is_read_only_when_the_toolstack_or_the_disk_says_so(bool mode, bool disk, bool expected)
    {
        using ScriptedDisk opened = new(64, readOnly: disk);
        Assert.Equal(
            expected,
            new QueuePlan(new VbdQueueOptions { ReadOnly = mode }, opened, Entries, null).IsReadOnly
        );
    }

    [Theory]
    [InlineData(512, false, false, GrantMode.Persistent)]
    [InlineData(4096, false, true, GrantMode.Copy)]
    [InlineData(4096, true, false, GrantMode.Persistent)]
    public void Where_blocks_are_merged_data_is_copied_into_memory_with_room_for_the_edges(
        int alignment,
        bool nativeSectors,
        bool merges,
        GrantMode expected
    )
    {
        VbdQueueOptions options = new()
        {
            GrantMode = GrantMode.Persistent,
            NativeSectors = nativeSectors,
            MaxIndirectSegments = 32,
        };
        QueuePlan plan = Plan(options, alignment);
        Assert.Equal((merges, expected), (plan.MergesBlocks, plan.Mode));
        Assert.Equal(merges ? 11 + BlockRmw.ExtraPages : 0, plan.BufferPagesPerSlot);
        Assert.Equal(merges, plan.PersistentGrants == 0);
        Assert.Equal(1 + (merges ? 32 + BlockRmw.ExtraPages : 1), plan.RunPagesOf(32));
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(1, 1)]
    [InlineData(512, 1)]
    [InlineData(513, 2)]
    [InlineData(4096, 8)]
    public void A_page_lists_512_segments(int segments, int pages) =>
        Assert.Equal(pages, QueuePlan.ListPagesOf(segments));

    [Theory]
    [InlineData(GrantMode.Copy)]
    [InlineData(GrantMode.Map)]
    [InlineData(GrantMode.Persistent)]
    public void Memory_is_taken_only_for_the_mode_that_is_served(GrantMode mode)
    {
        QueuePlan plan = Plan(WithIndirect(64) with { GrantMode = mode });
        bool copies = mode == GrantMode.Copy;
        Assert.Equal(copies ? Entries * 11 : 0, plan.BufferPages - plan.PoolPages);
        Assert.Equal(copies ? plan.BufferPages : 0, plan.CopySegments);
        Assert.Equal(copies, plan.ScratchBytes == 0);
        Assert.Equal(mode == GrantMode.Persistent, plan.PersistentGrants > 0);
        Assert.Equal(mode == GrantMode.Persistent, plan.PersistentRanges > 0);
        // In one pass every slot may be mapped, or every range.
        Assert.Equal(copies ? 0 : Math.Max(Entries, plan.PersistentRanges), plan.Mappings);
        Assert.Equal(Entries, plan.ListPages);
        // 64 segments: a page lists them, and a page has the vectors and references of the mapped ones.
        Assert.Equal(copies ? 65 : 2, plan.RunPagesOf(64));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1 << 20)]
    [InlineData(int.MaxValue)]
    public void The_pool_has_room_for_the_longest_request_and_for_no_more_than_one_per_slot(int bytes)
    {
        QueuePlan plan = Plan(WithIndirect(1024) with { IndirectMemoryBytes = bytes });
        int longest = plan.RunPagesOf(1024);
        Assert.InRange(plan.PoolPages, longest, longest * Entries);
        if (bytes == 0)
            Assert.Equal(longest, plan.PoolPages);
        Assert.Equal(0, Plan(new VbdQueueOptions { IndirectMemoryBytes = bytes }).PoolPages);
    }

    [Fact]
    public void Scratch_memory_of_a_slot_holds_the_vectors_of_the_longest_direct_request() =>
        Assert.True(QueuePlan.ScratchOffsetOf(1) >= 11 * QueuePlan.ScratchBytesPerSegment);

    private static VbdQueueOptions WithIndirect(int segments) => new() { MaxIndirectSegments = segments };

    private static QueuePlan Plan(VbdQueueOptions options, int alignment = 512)
    {
        using ScriptedDisk disk = new(64, alignmentBytes: alignment);
        return new QueuePlan(options, disk, Entries, adopted: null);
    }
}
