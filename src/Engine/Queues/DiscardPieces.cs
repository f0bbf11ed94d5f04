using Blkring.Engine.Disks;
using Blkring.Interop;

namespace Blkring.Engine.Queues;

/// <summary>
/// DISCARD in pieces of at most 2 GiB less a sector (B12): the only request with several disk operations at a time.
/// </summary>
internal static class DiscardPieces
{
    /// <summary>The largest piece: 2 GiB less a sector.</summary>
    private const int MaxPieceBytes = int.MaxValue - (Disk.SectorBytes - 1);

    /// <summary>Sets the range. Blocks that it covers only in part are not discarded.</summary>
    public static void Begin(ref RequestSlot slot, Disk disk)
    {
        slot.OffsetBytes = (long)slot.Request.SectorNumber << Disk.SectorShift;
        slot.DiscardEnd = slot.OffsetBytes + ((long)slot.Request.NrSectors << Disk.SectorShift);
        long mask = disk.DiscardBlockBytes - 1;
        slot.OffsetBytes = (slot.OffsetBytes + mask) & ~mask;
        slot.DiscardEnd = Math.Max(slot.OffsetBytes, slot.DiscardEnd & ~mask);
        slot.DiscardPieces = 0;
        Rewind(ref slot, disk);
    }

    /// <summary>Starts over, by the method that the disk uses now: what was discarded stays so.</summary>
    public static void Rewind(ref RequestSlot slot, Disk disk)
    {
        slot.DiscardMethod = disk.DiscardMethod;
        slot.DiscardNext = slot.OffsetBytes;
        slot.DiscardError = 0;
        slot.Generation++;
    }

    /// <summary>
    /// Whether a further piece is to be issued: within reach of the bits, and not after the first one has said that
    /// none will be done.
    /// </summary>
    public static bool HasNext(ref RequestSlot slot) =>
        slot.DiscardNext < slot.DiscardEnd && (long)slot.DiscardPieces >= 0 && slot.DiscardError != Errno.EOPNOTSUPP;

    /// <summary>The next piece, all but its tag; it has a generation of its own, as every operation has.</summary>
    public static DiskOperation Next(ref RequestSlot slot, Disk disk)
    {
        slot.Generation++;
        slot.DiscardPieces <<= 1;
        DiskOperation operation = default;
        operation.Kind = DiskOperationKind.Discard;
        operation.OffsetBytes = slot.DiscardNext;
        operation.LengthBytes = PieceBytes(ref slot, disk);
        operation.DiscardMethod = slot.DiscardMethod;
        slot.DiscardNext += operation.LengthBytes;
        return operation;
    }

    /// <summary>The piece just issued was started, or is done already.</summary>
    /// <param name="result">What <see cref="IDiskIo.Start"/> returned.</param>
    public static void NoteStarted(ref RequestSlot slot, int result)
    {
        if (result == IDiskIo.Pending)
            slot.DiscardPieces |= 1;
        else
            NoteResult(ref slot, result);
    }

    /// <summary>A piece has ended.</summary>
    public static void Complete(ref RequestSlot slot, uint generation, int result)
    {
        slot.DiscardPieces &= ~BitOf(ref slot, generation);
        NoteResult(ref slot, result);
    }

    public static bool IsUnderWay(ref RequestSlot slot, uint generation) => BitOf(ref slot, generation) != 0;

    /// <summary>The bit of the piece with that generation, 0 when it is not under way.</summary>
    private static ulong BitOf(ref RequestSlot slot, uint generation) =>
        slot.Generation - generation is < 64 and uint age ? slot.DiscardPieces & (1UL << (int)age) : 0;

    /// <summary>
    /// A unit of the store that is cut in two stays allocated: every piece but the last ends where a unit does.
    /// </summary>
    private static int PieceBytes(ref RequestSlot slot, Disk disk)
    {
        if (slot.DiscardEnd - slot.DiscardNext <= MaxPieceBytes)
            return (int)(slot.DiscardEnd - slot.DiscardNext);
        int unit = Math.Max(disk.DiscardGranularityBytes, disk.DiscardBlockBytes);
        long end = slot.DiscardNext + MaxPieceBytes;
        end -= (end - disk.DiscardAlignmentBytes) % unit;
        return (int)((end & ~(long)(disk.DiscardBlockBytes - 1)) - slot.DiscardNext);
    }

    private static void NoteResult(ref RequestSlot slot, int result)
    {
        if (result < 0 && slot.DiscardMethod.Refuses(-result))
            result = -Errno.EOPNOTSUPP;
        // An error that stays outweighs one that a retry may cure.
        if (result < 0 && slot.DiscardError is 0 or Errno.EAGAIN or Errno.EINTR)
            slot.DiscardError = -result;
    }
}
