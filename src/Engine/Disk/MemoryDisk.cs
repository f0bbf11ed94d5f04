using System.Runtime.CompilerServices;
using Blkring.Interop;

namespace Blkring.Engine;

/// <summary>A disk in unmanaged memory: every byte is kept, nothing survives the process.</summary>
public sealed unsafe class MemoryDisk : Disk
{
    private readonly MappedMemory _memory;

    public MemoryDisk(long capacitySectors, bool readOnly = false) : base(capacitySectors, readOnly) =>
        _memory = MappedMemory.Anonymous((nuint)(capacitySectors << SectorShift), populate: false);

    public override bool DiscardZeroes => true;

    /// <summary>The content, for tests that prepare or inspect it while no request is in flight.</summary>
    public Span<byte> Content => new(_memory.Address, checked((int)_memory.LengthBytes));

    public override string Describe() => $"memory disk, {CapacitySectors} sectors, lost when the process ends";

    public override TResult Accept<TResult>(IDiskVisitor<TResult> visitor) => visitor.Visit(new MemoryDiskIo(_memory.Address));

    /// <summary>Only shrinking and growing back are possible: the memory is fixed.</summary>
    public override void Resize(long capacitySectors)
    {
        if ((nuint)(capacitySectors << SectorShift) > _memory.LengthBytes)
            throw new ArgumentOutOfRangeException(nameof(capacitySectors), $"the memory disk holds {_memory.LengthBytes >> SectorShift} sectors at most");
        base.Resize(capacitySectors);
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing) _memory.Dispose();
    }
}

public readonly unsafe struct MemoryDiskIo(byte* content) : IDiskIo
{
    private readonly byte* _content = content;

    public static bool MovesData => true;

    public void Attach(in DiskAttachment attachment)
    {
    }

    public void Detach()
    {
    }

    /// <remarks>Safe: the queue has checked that offset and length lie within the disk, and the buffer is its own.</remarks>
    public int Start(in DiskOperation operation)
    {
        byte* place = _content + operation.OffsetBytes;
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

    public int Reap(Span<DiskCompletion> completions) => 0;
}
