using System.Diagnostics;
using Blkring.Engine.Disks;
using Blkring.Engine.Memory;
using Blkring.Engine.Telemetry;

namespace Blkring.Engine.Queues;

/// <summary>
/// A disk whose blocks are larger than a guest's sectors (4Kn): whole blocks go straight, parts of blocks by way of the
/// buffer.
/// </summary>
/// <remarks>
/// <code>
/// READ    the blocks that hold the sectors ─► the sectors to the guest
/// WRITE   AwaitBlocks ─► whole blocks: Transfer
///                     └► parts: ReadHead ─► ReadTail ─► around the guest's data ─► Transfer
/// </code>
/// The data lies in the buffer at its own offset within a block, so that the blocks around it can be read and written
/// in one piece. What is read for a write goes to pages behind, because the guest's data is there first.
/// </remarks>
public sealed unsafe partial class VbdQueue<TAbi, TGrants, TEvents, TDisk>
{
    /// <summary>
    /// One page more than there are segments, as data need not start with a block, and two for the blocks at its ends.
    /// </summary>
    private const int BlockPages = 3;

    private byte* BufferOf(int index, ref RequestSlot slot) =>
        (slot.Holds & SlotHolds.Pages) == 0
            ? _buffers + ((nint)index * _bytesPerSlot)
            : _pool.At(slot.RunFirst + ListPagesOf(slot.Request.NrSegments));

    private bool IsWholeBlocks(ref RequestSlot slot) => ((slot.OffsetBytes | (uint)slot.LengthBytes) & _blockMask) == 0;

    /// <summary>Before its transfer a request takes on whole blocks. False when it has to wait for them.</summary>
    private bool EnterBlocks(int index, ref RequestSlot slot)
    {
        if ((slot.Holds & SlotHolds.Blocks) != 0 || slot.LengthBytes == 0)
            return true;
        if (slot.Kind == RequestKind.Read)
        {
            slot.Range = BlockRanges.None;
            Hold(ref slot, SlotHolds.Blocks);
            Widen(index, ref slot);
            return true;
        }
        if (_awaitingBlocks.Count == 0 && TryTakeBlocks(ref slot))
        {
            FirstOfBlocks(index, ref slot);
            return true;
        }
        Wait(ref _awaitingBlocks, index, ref slot, SlotStage.AwaitBlocks);
        return false;
    }

    private bool TryTakeBlocks(ref RequestSlot slot)
    {
        long start = slot.OffsetBytes & ~_blockMask,
            end = (slot.OffsetBytes + slot.LengthBytes + _blockMask) & ~_blockMask;
        slot.Range = _disk.Ranges!.TryTake(start, end, exclusive: !IsWholeBlocks(ref slot));
        if (slot.Range == BlockRanges.None)
            return false;
        Hold(ref slot, SlotHolds.Blocks);
        return true;
    }

    /// <summary>What a write with its blocks taken does first.</summary>
    private void FirstOfBlocks(int index, ref RequestSlot slot)
    {
        if (IsWholeBlocks(ref slot))
            slot.Stage = SlotStage.Transfer;
        else if ((slot.OffsetBytes & _blockMask) != 0)
            slot.Stage = SlotStage.ReadHead;
        else
            slot.Stage = SlotStage.ReadTail;
        if (slot.Stage == SlotStage.Transfer)
            Widen(index, ref slot);
    }

    private byte* HeadOf(int index, ref RequestSlot slot)
    {
        int pages = 1 + ((slot.Holds & SlotHolds.Pages) == 0 ? DirectSegments : slot.Request.NrSegments);
        return BufferOf(index, ref slot) + ((nint)pages * Arena.PageBytes);
    }

    private byte* TailOf(int index, ref RequestSlot slot) =>
        IsOneBlock(ref slot) && (slot.OffsetBytes & _blockMask) != 0
            ? HeadOf(index, ref slot)
            : HeadOf(index, ref slot) + Arena.PageBytes;

    private bool IsOneBlock(ref RequestSlot slot) =>
        (slot.OffsetBytes & ~_blockMask) == ((EndOf(ref slot) - 1) & ~_blockMask);

    private static long EndOf(ref RequestSlot slot) => slot.OffsetBytes + slot.LengthBytes;

    /// <summary>What is left to read of the block at one end of the data.</summary>
    private DiskOperation ReadOfEdge(int index, ref RequestSlot slot)
    {
        bool head = slot.Stage == SlotStage.ReadHead;
        long block = (head ? slot.OffsetBytes : EndOf(ref slot)) & ~_blockMask;
        return new DiskOperation
        {
            Kind = DiskOperationKind.Read,
            OffsetBytes = block + slot.DoneBytes,
            LengthBytes = (int)_blockMask + 1 - slot.DoneBytes,
            Buffer = (head ? HeadOf(index, ref slot) : TailOf(index, ref slot)) + slot.DoneBytes,
            Tag = TagOf(index, ref slot),
        };
    }

    /// <summary>
    /// So many bytes more of an edge are read; with all that is needed there, the blocks can be written.
    /// </summary>
    private void AdvanceEdge(int index, ref RequestSlot slot, int bytes)
    {
        slot.DoneBytes += bytes;
        if (slot.DoneBytes <= (int)_blockMask)
            return;
        slot.DoneBytes = 0;
        bool tail =
            (EndOf(ref slot) & _blockMask) != 0 && !(IsOneBlock(ref slot) && (slot.OffsetBytes & _blockMask) != 0);
        if (slot.Stage == SlotStage.ReadHead && tail)
        {
            slot.Stage = SlotStage.ReadTail;
            return;
        }
        Surround(index, ref slot);
        slot.Stage = SlotStage.Transfer;
        Widen(index, ref slot);
    }

    /// <summary>Puts what the blocks hold beside the guest's data around it.</summary>
    private void Surround(int index, ref RequestSlot slot)
    {
        byte* buffer = BufferOf(index, ref slot);
        int lead = (int)(slot.OffsetBytes & _blockMask),
            end = (int)(EndOf(ref slot) & _blockMask);
        Debug.Assert(slot.Data == buffer + lead);
        Buffer.MemoryCopy(HeadOf(index, ref slot), buffer, lead, lead);
        if (end == 0)
            return;
        int trail = (int)_blockMask + 1 - end;
        Buffer.MemoryCopy(TailOf(index, ref slot) + end, slot.Data + slot.LengthBytes, trail, trail);
    }

    /// <summary>From the guest's sectors to the blocks that hold them.</summary>
    private void Widen(int index, ref RequestSlot slot)
    {
        slot.GuestBytes = slot.LengthBytes;
        long start = slot.OffsetBytes & ~_blockMask,
            end = (EndOf(ref slot) + _blockMask) & ~_blockMask;
        (slot.OffsetBytes, slot.LengthBytes) = (start, (int)(end - start));
        slot.Data = BufferOf(index, ref slot);
    }

    /// <summary>And back, when the disk is done.</summary>
    private void Narrow(ref RequestSlot slot)
    {
        slot.OffsetBytes = (long)slot.Request.SectorNumber << Disk.SectorShift;
        slot.LengthBytes = slot.GuestBytes;
        slot.Data += slot.OffsetBytes & _blockMask;
    }
}
