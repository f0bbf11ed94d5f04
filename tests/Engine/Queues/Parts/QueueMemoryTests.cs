using Blkring.Engine.Memory;
using Blkring.Engine.Queues;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests.Queues.Parts;

public sealed unsafe class QueueMemoryTests
{
    private const int Slots = PartArena.Count;

    [Fact]
    public void Each_direct_request_has_whole_pages_of_its_own_among_those_that_the_disk_registers()
    {
        using PartArena part = new();
        using Cut cut = new(new VbdQueueOptions { MaxIndirectSegments = 64 });
        for (int i = 0; i < Slots; i++)
        {
            byte* buffer = cut.Memory.BufferOf(i, ref part.Slots[i]);
            Assert.Equal(0, (nint)buffer % Arena.PageBytes);
            Assert.Equal(i * 11 * Arena.PageBytes, buffer - cut.Memory.Buffers);
        }
        Assert.Equal((nuint)cut.Plan.BufferPages * Arena.PageBytes, cut.Memory.BuffersLengthBytes);
        Assert.Equal(QueuePlan.ReapBatch, cut.Memory.Completions.Length);
        // Segments of a direct request stay in the request itself.
        ref RequestSlot slot = ref part.Slots[3];
        Assert.True((byte*)cut.Memory.SegmentsOf(ref slot) == (byte*)&slot.Record->Request.Seg);
    }

    [Fact]
    public void An_indirect_request_has_its_list_and_behind_it_its_data_in_a_run_of_the_pool()
    {
        using PartArena part = new();
        using Cut cut = new(new VbdQueueOptions { MaxIndirectSegments = 600 });
        ref RequestSlot slot = ref part.Slots[0];
        slot.Request.NrSegments = 600;
        Assert.True(cut.Memory.TryTakeRun(ref slot, cut.Plan.RunPagesOf(600)));
        slot.Holds = SlotHolds.Pages;
        byte* list = cut.Memory.ListOf(ref slot),
            data = cut.Memory.BufferOf(0, ref slot);
        Assert.True(list == (byte*)cut.Memory.SegmentsOf(ref slot));
        Assert.Equal(2 * Arena.PageBytes, data - list);
        // Behind the buffers of direct requests, and within what the disk registers.
        Assert.True(list >= cut.Memory.Buffers + (Slots * 11 * Arena.PageBytes));
        Assert.True(data + (600 * Arena.PageBytes) <= cut.Memory.Buffers + cut.Memory.BuffersLengthBytes);
    }

    [Fact]
    public void Without_room_in_the_pool_nothing_is_taken_until_a_run_comes_back()
    {
        using PartArena part = new();
        using Cut cut = new(new VbdQueueOptions { MaxIndirectSegments = 64, IndirectMemoryBytes = 0 });
        int pages = cut.Plan.RunPagesOf(64);
        ref RequestSlot first = ref part.Slots[0],
            second = ref part.Slots[1];
        Assert.True(cut.Memory.TryTakeRun(ref first, pages));
        (second.RunFirst, second.RunPages) = (77, 78);
        Assert.False(cut.Memory.TryTakeRun(ref second, 1));
        Assert.Equal((77, 78), (second.RunFirst, second.RunPages));
        cut.Memory.ReturnRun(ref first);
        Assert.True(cut.Memory.TryTakeRun(ref second, pages));
        Assert.Equal((first.RunFirst, pages), (second.RunFirst, second.RunPages));
    }

    [Fact]
    public void Vectors_and_references_of_mapped_requests_share_nothing()
    {
        using PartArena part = new();
        using Cut cut = new(new VbdQueueOptions { GrantMode = GrantMode.Map, MaxIndirectSegments = 64 });
        byte* end = null;
        for (int i = 0; i < Slots; i++)
        {
            ref RequestSlot slot = ref part.Slots[i];
            slot.Request.NrSegments = 11;
            byte* vectors = (byte*)cut.Memory.VectorsOf(i, ref slot),
                references = (byte*)cut.Memory.ReferencesOf(i, ref slot);
            Assert.True(vectors >= end);
            Assert.Equal(11 * 16, references - vectors);
            end = references + (11 * sizeof(uint));
        }
        ref RequestSlot longest = ref part.Slots[0];
        longest.Request.NrSegments = 64;
        int pages = cut.Plan.RunPagesOf(64);
        Assert.True(cut.Memory.TryTakeRun(ref longest, pages));
        longest.Holds = SlotHolds.Pages;
        byte* run = cut.Memory.ListOf(ref longest);
        Assert.True((byte*)cut.Memory.VectorsOf(0, ref longest) == run + Arena.PageBytes);
        Assert.True((byte*)(cut.Memory.ReferencesOf(0, ref longest) + 64) <= run + (pages * Arena.PageBytes));
    }

    /// <summary>The memory of a plan, measured and cut as a queue does it.</summary>
    private sealed class Cut : IDisposable
    {
        public Cut(VbdQueueOptions options)
        {
            using ScriptedDisk disk = new(64);
            Plan = new QueuePlan(options, disk, Slots, adopted: null);
            Arena arena = Arena.ToMeasure();
            _ = new QueueMemory(arena, Plan);
            arena.Map();
            Memory = new QueueMemory(arena, Plan);
        }

        public QueuePlan Plan { get; }
        public QueueMemory Memory { get; }

        public void Dispose() => Memory.Dispose();
    }
}
