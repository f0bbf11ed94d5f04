using Blkring.Abi;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Memory;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Tests.Queues.Parts;

public sealed unsafe class GrantCopyBatchTests
{
    private const ushort Guest = 7;

    [Fact]
    public void Each_request_has_the_status_of_its_own_segments()
    {
        using PartArena part = new();
        GrantCopyBatch batch = new(part.Arena, PartArena.Count, 8, Guest);
        Assert.True(batch.IsEmpty);
        byte* data = part.Arena.Take<byte>(Arena.PageBytes * 4, Arena.PageBytes);
        Blkif.RequestSegment* segments = stackalloc Blkif.RequestSegment[2];
        segments[0] = new Blkif.RequestSegment
        {
            Gref = 11,
            FirstSect = 1,
            LastSect = 7,
        };
        segments[1] = new Blkif.RequestSegment
        {
            Gref = 12,
            FirstSect = 0,
            LastSect = 0,
        };
        batch.AddData(3, segments, 2, data, toGuest: false);
        batch.AddData(5, segments, 0, data, toGuest: false);
        batch.AddData(4, segments, 1, data, toGuest: true);
        Assert.Equal((false, 3), (batch.IsEmpty, batch.SegmentCount));

        GrantCopySegment* copies = batch.Segments;
        Assert.Equal((11u, 512, Guest), Place(copies[0].SourceForeign));
        Assert.Equal((7 * 512, GrantTable.GntcopySourceGref), (copies[0].LengthBytes, copies[0].Flags));
        Assert.True(copies[0].DestAddress == data && copies[1].DestAddress == data + (7 * 512));
        Assert.Equal((11u, 512, Guest), Place(copies[2].DestForeign));
        Assert.True(copies[2].SourceAddress == data && copies[2].Flags == GrantTable.GntcopyDestGref);

        // A call that fails as a whole sets no status: then nothing looks copied.
        copies[0].Status = copies[2].Status = GrantTable.GntstOkay;
        GrantCopyBatch.Results results = batch.TakeResults();
        Assert.True(batch.IsEmpty);
        Assert.Equal((3, GrantTable.GntstGeneralError), Take(ref results));
        Assert.Equal((5, GrantTable.GntstOkay), Take(ref results));
        Assert.Equal((4, GrantTable.GntstOkay), Take(ref results));
        Assert.False(results.TryTake(out _, out _));
    }

    [Theory]
    [InlineData(8, 1, 8)]
    [InlineData(4096, 1, 4096)]
    [InlineData(4104, 2, 8)]
    public void Pages_are_copied_one_by_one_and_the_last_in_part(int bytes, int pages, int lastBytes)
    {
        using PartArena part = new();
        GrantCopyBatch batch = new(part.Arena, PartArena.Count, 8, Guest);
        uint* references = stackalloc uint[2] { 21, 22 };
        byte* list = part.Arena.Take<byte>(Arena.PageBytes * 2, Arena.PageBytes);
        batch.AddPages(1, references, bytes, list);
        Assert.Equal(pages, batch.SegmentCount);
        GrantCopySegment last = batch.Segments[pages - 1];
        Assert.Equal((references[pages - 1], 0, Guest), Place(last.SourceForeign));
        Assert.Equal((lastBytes, true), (last.LengthBytes, last.DestAddress == list + ((pages - 1) * Arena.PageBytes)));
    }

    private static (uint, int, ushort) Place(ForeignAddress address) =>
        (address.Reference, address.OffsetBytes, address.Domain);

    private static (int, int) Take(ref GrantCopyBatch.Results results)
    {
        Assert.True(results.TryTake(out int index, out short status));
        return (index, status);
    }
}
