using Blkring.Abi;
using Blkring.AbiTools;

namespace Blkring.AbiImport.Tests;

/// <summary>A union that ABIs lay out differently crosses a ring as the bytes that the ring's ABI gave it.</summary>
public sealed unsafe class RawUnionTests
{
    [Fact]
    public void A_union_is_read_from_where_the_ABI_has_it()
    {
        // struct xendispl_req: op is aligned to 8 bytes but for i386, and begins at 8 for all.
        Assert.Equal(
            Entry(8, sizeof(Displif.X86_32.XendisplReqOp)),
            Op<Displif.X86_32>(sizeof(Displif.X86_32.XendisplReqOp))
        );
        Assert.Equal(
            Entry(8, sizeof(Displif.Native.XendisplReqOp)),
            Op<Displif.Native>(sizeof(Displif.Native.XendisplReqOp))
        );
    }

    [Fact]
    public void A_union_is_written_back_as_it_was_read()
    {
        byte[] entry = Entry(0, Size<Displif.Native>());
        byte[] copy = new byte[entry.Length];
        fixed (
            byte* from = entry,
                to = copy
        )
        {
            var request = default(Displif.XenDisplifDecodedRequest);
            Read<Displif.Native>(from, ref request);
            Write<Displif.Native>(to, request);
        }

        Assert.Equal(entry[8..], copy[8..]);
    }

    private static byte[] Entry(int first, int count) => [.. Enumerable.Range(first + 1, count).Select(i => (byte)i)];

    private static byte[] Op<TAbi>(int size)
        where TAbi : Displif.IXenDisplifRing
    {
        var request = default(Displif.XenDisplifDecodedRequest);
        fixed (byte* entry = Entry(0, TAbi.EntrySize))
            TAbi.ReadRequest(entry, ref request);
        return ((ReadOnlySpan<byte>)request.Op)[..size].ToArray();
    }

    private static int Size<TAbi>()
        where TAbi : Displif.IXenDisplifRing => TAbi.EntrySize;

    private static void Read<TAbi>(byte* entry, ref Displif.XenDisplifDecodedRequest request)
        where TAbi : Displif.IXenDisplifRing => TAbi.ReadRequest(entry, ref request);

    private static void Write<TAbi>(byte* entry, in Displif.XenDisplifDecodedRequest request)
        where TAbi : Displif.IXenDisplifRing => TAbi.WriteRequest(entry, request);
}
