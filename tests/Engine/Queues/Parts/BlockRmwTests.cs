using Blkring.Engine.Disks;
using Blkring.Engine.Memory;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Tests.Queues.Parts;

public sealed unsafe class BlockRmwTests
{
    private const int Block = 4096;

    [Theory]
    [InlineData(0, 8, SlotStageName.Transfer)]
    [InlineData(3, 2, SlotStageName.ReadHead)]
    [InlineData(8, 9, SlotStageName.ReadTail)]
    public void A_write_reads_the_block_that_it_covers_in_part_first(int sector, int sectors, SlotStageName first)
    {
        using PartArena part = new();
        BlockRmw blocks = new(new BlockRanges(), Block);
        ref RequestSlot slot = ref Write(part, sector, sectors);
        Assert.True(blocks.TryTake(ref slot));
        Assert.Equal(first.ToString(), blocks.FirstStage(ref slot).ToString());
    }

    [Fact]
    public void Blocks_taken_for_a_part_are_given_to_no_other_until_they_come_back()
    {
        using PartArena part = new();
        BlockRmw blocks = new(new BlockRanges(), Block);
        ref RequestSlot first = ref Write(part, 3, 2);
        Assert.True(blocks.TryTake(ref first));
        ref RequestSlot second = ref Write(part, 6, 1, index: 1);
        Assert.False(blocks.TryTake(ref second));
        blocks.Return(ref first);
        Assert.True(blocks.TryTake(ref second));
    }

    [Fact]
    public void What_the_blocks_hold_beside_the_data_is_kept_and_the_extent_comes_back()
    {
        using PartArena part = new();
        BlockRmw blocks = new(new BlockRanges(), Block);
        byte* buffer = part.Arena.Take<byte>(16 * Arena.PageBytes, Arena.PageBytes);
        // Sectors 6 to 9: the end of one block and the start of the next.
        ref RequestSlot slot = ref Write(part, 6, 4);
        slot.Data = buffer + blocks.OffsetInBlock(slot.OffsetBytes);
        new Span<byte>(slot.Data, slot.LengthBytes).Fill(0xDD);
        slot.Stage = SlotStage.ReadHead;
        DiskOperation head = blocks.ReadOfEdge(ref slot, buffer, tag: 1);
        new Span<byte>(head.Buffer, head.LengthBytes).Fill(0xAA);
        blocks.AdvanceEdge(ref slot, buffer, 1000);
        Assert.Equal((SlotStage.ReadHead, 1000), (slot.Stage, slot.DoneBytes));
        Assert.Equal(1000, blocks.ReadOfEdge(ref slot, buffer, tag: 2).OffsetBytes);
        blocks.AdvanceEdge(ref slot, buffer, Block - 1000);
        Assert.Equal(SlotStage.ReadTail, slot.Stage);
        DiskOperation tail = blocks.ReadOfEdge(ref slot, buffer, tag: 3);
        Assert.Equal((Block, Block), (tail.OffsetBytes, tail.LengthBytes));
        new Span<byte>(tail.Buffer, tail.LengthBytes).Fill(0xBB);
        blocks.AdvanceEdge(ref slot, buffer, Block);

        Assert.Equal((SlotStage.Transfer, 0L, 2 * Block), (slot.Stage, slot.OffsetBytes, slot.LengthBytes));
        ReadOnlySpan<byte> merged = new(slot.Data, slot.LengthBytes);
        Assert.Equal(-1, merged[..(6 * 512)].IndexOfAnyExcept((byte)0xAA));
        Assert.Equal(-1, merged[(6 * 512)..(10 * 512)].IndexOfAnyExcept((byte)0xDD));
        Assert.Equal(-1, merged[(10 * 512)..].IndexOfAnyExcept((byte)0xBB));
        blocks.Restore(ref slot);
        Assert.Equal((6 * 512L, 4 * 512, true), (slot.OffsetBytes, slot.LengthBytes, slot.Data == buffer + (6 * 512)));
    }

    /// <summary>The stages of this test by name: those of the engine are not public.</summary>
    public enum SlotStageName
    {
        Transfer = SlotStage.Transfer,
        ReadHead = SlotStage.ReadHead,
        ReadTail = SlotStage.ReadTail,
    }

    private static ref RequestSlot Write(PartArena part, int sector, int sectors, int index = 0)
    {
        ref RequestSlot slot = ref part.Slots[index];
        slot.Request.SectorNumber = (ulong)sector;
        (slot.OffsetBytes, slot.LengthBytes) = (sector * 512L, sectors * 512);
        return ref slot;
    }
}
