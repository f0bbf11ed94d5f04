using System.Diagnostics;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Memory;

namespace Blkring.Engine.Queues;

/// <summary>
/// Read-modify-write, for a disk whose blocks are larger than a guest's sectors (4Kn). A request for whole blocks
/// is one transfer. For parts of blocks, the blocks that hold them are transferred.
/// </summary>
/// <remarks>
/// <code>
/// READ    the blocks that hold the sectors ─► the sectors to the guest
/// WRITE   AwaitBlocks ─► whole blocks: Transfer
///                     └► parts: ReadHead ─► ReadTail ─► merged with the guest's data ─► Transfer
/// </code>
/// The data lies in the buffer at its own offset within a block, so that the blocks around it can be read and written
/// in one piece. The blocks at its edges are read into pages behind the buffer, because the buffer already holds the
/// guest's data.
/// </remarks>
/// <param name="ranges">The ranges of the disk that are being written; null where no block is merged.</param>
/// <param name="blockBytes">The disk's block, a power of two.</param>
internal readonly unsafe struct BlockRmw(BlockRanges? ranges, int blockBytes)
{
    /// <summary>
    /// Pages of a buffer beyond one per segment: one because the data need not start at a block, and two for the blocks
    /// at its ends.
    /// </summary>
    public const int ExtraPages = 3;

    private readonly long _mask = blockBytes - 1;

    public bool IsWholeBlocks(ref RequestSlot slot) => ((slot.OffsetBytes | (uint)slot.LengthBytes) & _mask) == 0;

    /// <summary>Bytes from the start of a block to <paramref name="offsetBytes"/>.</summary>
    public long OffsetInBlock(long offsetBytes) => offsetBytes & _mask;

    /// <summary>Takes the blocks of a write; false while another request writes one of them.</summary>
    public bool TryTake(ref RequestSlot slot)
    {
        slot.Range = ranges!.TryTake(
            slot.OffsetBytes & ~_mask,
            (EndOf(ref slot) + _mask) & ~_mask,
            exclusive: !IsWholeBlocks(ref slot)
        );
        return slot.Range != BlockRanges.None;
    }

    /// <summary>Gives back what a write took; a read takes nothing.</summary>
    public void Return(ref RequestSlot slot)
    {
        if (slot.Range != BlockRanges.None)
            ranges!.Return(slot.Range);
    }

    /// <summary>What a write that has taken its blocks does first.</summary>
    public SlotStage FirstStage(ref RequestSlot slot)
    {
        if (IsWholeBlocks(ref slot))
            return SlotStage.Transfer;
        return (slot.OffsetBytes & _mask) != 0 ? SlotStage.ReadHead : SlotStage.ReadTail;
    }

    /// <summary>The rest of the block at one end of the data, to be read.</summary>
    /// <param name="buffer">The request's buffer.</param>
    public DiskOperation ReadOfEdge(ref RequestSlot slot, byte* buffer, ulong tag)
    {
        bool head = slot.Stage == SlotStage.ReadHead;
        long block = (head ? slot.OffsetBytes : EndOf(ref slot)) & ~_mask;
        return new DiskOperation
        {
            Kind = DiskOperationKind.Read,
            OffsetBytes = block + slot.DoneBytes,
            LengthBytes = (int)_mask + 1 - slot.DoneBytes,
            Buffer = (head ? HeadOf(ref slot, buffer) : TailOf(ref slot, buffer)) + slot.DoneBytes,
            Tag = tag,
        };
    }

    /// <summary>
    /// A read of an edge has moved <paramref name="bytes"/> bytes. When both edges are there the blocks are merged, and
    /// the request goes on to its transfer.
    /// </summary>
    public void AdvanceEdge(ref RequestSlot slot, byte* buffer, int bytes)
    {
        slot.DoneBytes += bytes;
        if (slot.DoneBytes <= (int)_mask)
            return;
        slot.DoneBytes = 0;
        bool hasTail = (EndOf(ref slot) & _mask) != 0 && !(IsOneBlock(ref slot) && (slot.OffsetBytes & _mask) != 0);
        if (slot.Stage == SlotStage.ReadHead && hasTail)
        {
            slot.Stage = SlotStage.ReadTail;
            return;
        }
        Merge(ref slot, buffer);
        slot.Stage = SlotStage.Transfer;
        Align(ref slot, buffer);
    }

    /// <summary>Puts the rest of the blocks before and behind the guest's data.</summary>
    public void Merge(ref RequestSlot slot, byte* buffer)
    {
        int lead = (int)(slot.OffsetBytes & _mask),
            end = (int)(EndOf(ref slot) & _mask);
        Debug.Assert(slot.Data == buffer + lead);
        Buffer.MemoryCopy(HeadOf(ref slot, buffer), buffer, lead, lead);
        if (end == 0)
            return;
        int trail = (int)_mask + 1 - end;
        Buffer.MemoryCopy(TailOf(ref slot, buffer) + end, slot.Data + slot.LengthBytes, trail, trail);
    }

    /// <summary>Makes the request's extent that of the blocks that hold its sectors.</summary>
    public void Align(ref RequestSlot slot, byte* buffer)
    {
        slot.GuestBytes = slot.LengthBytes;
        long start = slot.OffsetBytes & ~_mask,
            end = (EndOf(ref slot) + _mask) & ~_mask;
        (slot.OffsetBytes, slot.LengthBytes) = (start, (int)(end - start));
        slot.Data = buffer;
    }

    /// <summary>Makes the extent that of the guest's sectors again, when the disk is done.</summary>
    public void Restore(ref RequestSlot slot)
    {
        slot.OffsetBytes = (long)slot.Request.SectorNumber << Disk.SectorShift;
        slot.LengthBytes = slot.GuestBytes;
        slot.Data += slot.OffsetBytes & _mask;
    }

    private static byte* HeadOf(ref RequestSlot slot, byte* buffer)
    {
        int pages = 1 + (slot.HasRun ? slot.Request.NrSegments : Blkif.MaxSegmentsPerRequest);
        return buffer + ((nint)pages * Arena.PageBytes);
    }

    private byte* TailOf(ref RequestSlot slot, byte* buffer) =>
        IsOneBlock(ref slot) && (slot.OffsetBytes & _mask) != 0
            ? HeadOf(ref slot, buffer)
            : HeadOf(ref slot, buffer) + Arena.PageBytes;

    private bool IsOneBlock(ref RequestSlot slot) => (slot.OffsetBytes & ~_mask) == ((EndOf(ref slot) - 1) & ~_mask);

    private static long EndOf(ref RequestSlot slot) => slot.OffsetBytes + slot.LengthBytes;
}
