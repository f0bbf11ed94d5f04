using System.Runtime.CompilerServices;
using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// A disk in unmanaged memory, for the demo, benchmarks and tests. Its content ends with the process.
/// </summary>
public sealed unsafe class MemoryDisk : Disk
{
    private readonly MappedMemory _memory;

    /// <param name="sectorBytes">4096 makes it a 4Kn disk, which refuses transfers that are not a multiple.</param>
    public MemoryDisk(long capacitySectors, bool readOnly = false, int sectorBytes = SectorBytes)
        : base(capacitySectors, readOnly)
    {
        LogicalSectorBytes = PhysicalSectorBytes = AlignmentBytes = DiscardGranularityBytes = sectorBytes;
        _memory = MappedMemory.Anonymous((nuint)(capacitySectors << SectorShift), populate: false);
    }

    // Partially covered blocks are not discarded, so on a 4Kn disk some discarded sectors keep their content.
    public override bool DiscardZeroes => AlignmentBytes == SectorBytes;

    /// <summary>The content, which may be prepared or inspected while no request is in flight.</summary>
    public Span<byte> Content => new(_memory.Address, checked((int)_memory.LengthBytes));

    public override string Describe() => $"memory disk, {CapacitySectors} sectors, lost when the process ends";

    public override TResult Accept<TResult>(IDiskVisitor<TResult> visitor) =>
        visitor.Visit(new MemoryDiskIo(_memory.Address, AlignmentBytes - 1));

    /// <summary>The memory has a fixed size: the disk can shrink, and grow back to its first length.</summary>
    public override void Resize(long capacitySectors)
    {
        if ((nuint)(capacitySectors << SectorShift) > _memory.LengthBytes)
            throw new ArgumentOutOfRangeException(
                nameof(capacitySectors),
                $"the memory disk holds {_memory.LengthBytes >> SectorShift} sectors at most"
            );
        base.Resize(capacitySectors);
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            _memory.Dispose();
    }
}

public readonly unsafe struct MemoryDiskIo(byte* content, int alignmentMask = 0) : IDiskIo
{
    private readonly byte* _content = content;

    public static bool MovesData => true;

    public void Attach(in DiskAttachment attachment) { }

    public void Detach() { }

    /// <remarks>
    /// Safe: the queue has checked that offset and length are within the disk, and the buffer is its own.
    /// </remarks>
    public int Start(in DiskOperation operation)
    {
        if (((operation.OffsetBytes | (uint)operation.LengthBytes) & alignmentMask) != 0)
            return -Errno.EINVAL;
        byte* place = _content + operation.OffsetBytes;
        if (operation.VectorCount > 0)
            return Transfer(in operation, place);
        switch (operation.Kind)
        {
            case DiskOperationKind.Read:
                Unsafe.CopyBlockUnaligned(operation.Buffer, place, (uint)operation.LengthBytes);
                return operation.LengthBytes;
            case DiskOperationKind.Write:
                Unsafe.CopyBlockUnaligned(place, operation.Buffer, (uint)operation.LengthBytes);
                return operation.LengthBytes;
            case DiskOperationKind.Discard:
                Unsafe.InitBlockUnaligned(place, 0, (uint)operation.LengthBytes);
                return 0;
            default:
                return 0;
        }
    }

    private static int Transfer(in DiskOperation operation, byte* place)
    {
        for (int i = 0; i < operation.VectorCount; i++)
        {
            iovec vector = operation.Vectors[i];
            if (operation.Kind == DiskOperationKind.Read)
                Unsafe.CopyBlockUnaligned(vector.iov_base, place, (uint)vector.iov_len);
            else
                Unsafe.CopyBlockUnaligned(place, vector.iov_base, (uint)vector.iov_len);
            place += vector.iov_len;
        }
        return operation.LengthBytes;
    }

    public int Reap(Span<DiskCompletion> completions) => 0;
}
