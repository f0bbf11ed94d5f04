using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Memory;
using Blkring.Engine.Queues;
using Blkring.Interop;

namespace Blkring.Engine.Tests.Queues.Parts;

public sealed unsafe class SlotVectorsTests
{
    [Fact]
    public void Pages_that_follow_each_other_are_one_vector_and_what_is_done_goes()
    {
        using PartArena part = new();
        byte* pages = part.Arena.Take<byte>(4 * Arena.PageBytes, Arena.PageBytes);
        iovec* vectors = stackalloc iovec[3];
        Blkif.RequestSegment whole = new() { FirstSect = 0, LastSect = 7 };
        int used = SlotVectors.Append(vectors, 0, pages, &whole);
        used = SlotVectors.Append(vectors, used, pages + Arena.PageBytes, &whole);
        Assert.Equal(1, used);
        used = SlotVectors.Append(vectors, used, pages + (3 * Arena.PageBytes), &whole);
        Assert.Equal(2, used);

        ref RequestSlot slot = ref part.Slots[0];
        SlotVectors.Set(ref slot, vectors, used);
        DiskOperation operation = default;
        SlotVectors.Give(ref slot, ref operation);
        Assert.Equal(2, operation.VectorCount);
        SlotVectors.Advance(ref slot, 100);
        Assert.Equal(((nint)(pages + 100), 2), ((nint)slot.Vectors->iov_base, slot.VectorCount));
        SlotVectors.Advance(ref slot, (2 * Arena.PageBytes) - 100);
        Assert.Equal(((nint)(pages + (3 * Arena.PageBytes)), 1), ((nint)slot.Vectors->iov_base, slot.VectorCount));
    }

    [Fact]
    public void A_single_vector_is_a_plain_buffer()
    {
        using PartArena part = new();
        byte* page = part.Arena.Take<byte>(Arena.PageBytes, Arena.PageBytes);
        iovec* vectors = stackalloc iovec[1];
        Blkif.RequestSegment part512 = new() { FirstSect = 2, LastSect = 2 };
        SlotVectors.Set(ref part.Slots[0], vectors, SlotVectors.Append(vectors, 0, page, &part512));
        Assert.Equal((0, true), (part.Slots[0].VectorCount, part.Slots[0].Data == page + 1024));
    }
}
