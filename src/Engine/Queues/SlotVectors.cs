using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Interop;

namespace Blkring.Engine.Queues;

/// <summary>
/// The data of a mapped request in one disk operation, although its pages need not follow each other.
/// </summary>
internal static unsafe class SlotVectors
{
    /// <summary>Appends a segment: pages that follow each other are one vector.</summary>
    /// <param name="count">Vectors so far.</param>
    /// <returns>Vectors now.</returns>
    public static int Append(iovec* vectors, int count, byte* page, Blkif.RequestSegment* segment)
    {
        byte* start = page + (segment->FirstSect << Disk.SectorShift);
        nuint length = (nuint)(segment->LastSect - segment->FirstSect + 1) << Disk.SectorShift;
        iovec* last = vectors + count - 1;
        if (count > 0 && (byte*)last->iov_base + last->iov_len == start)
        {
            last->iov_len += length;
            return count;
        }
        vectors[count] = new iovec { iov_base = start, iov_len = length };
        return count + 1;
    }

    /// <summary>Makes the vectors the slot's data: a single one is a plain buffer.</summary>
    public static void Set(ref RequestSlot slot, iovec* vectors, int count)
    {
        slot.Data = (byte*)vectors[0].iov_base;
        slot.Vectors = vectors;
        slot.VectorCount = count == 1 ? 0 : count;
    }

    /// <summary>Gives the operation as many of the vectors that are left as the kernel takes at a time.</summary>
    public static void Give(ref RequestSlot slot, ref DiskOperation operation)
    {
        operation.Vectors = slot.Vectors;
        operation.VectorCount = Math.Min(slot.VectorCount, DiskOperation.MaxVectors);
        if (operation.VectorCount == slot.VectorCount)
            return;
        nuint length = 0;
        for (int i = 0; i < operation.VectorCount; i++)
            length += slot.Vectors[i].iov_len;
        operation.LengthBytes = (int)length;
    }

    /// <summary>Takes the bytes that were transferred off the vectors that are left.</summary>
    public static void Advance(ref RequestSlot slot, int bytes)
    {
        while (slot.VectorCount > 0 && (nuint)bytes >= slot.Vectors->iov_len)
        {
            bytes -= (int)slot.Vectors->iov_len;
            slot.Vectors++;
            slot.VectorCount--;
        }
        if (bytes == 0)
            return;
        slot.Vectors->iov_base = (byte*)slot.Vectors->iov_base + bytes;
        slot.Vectors->iov_len -= (nuint)bytes;
    }
}
