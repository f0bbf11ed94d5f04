namespace Blkring.Engine.Disks;

/// <summary>
/// Every operation succeeds at once and no data is transferred: for measuring everything but the disk. With 0 sectors
/// it is a removable drive without a medium.
/// </summary>
public sealed class NullDisk(long capacitySectors, bool readOnly = false) : Disk(capacitySectors, readOnly)
{
    public override bool DiscardZeroes => false;

    public override string Describe() =>
        CapacitySectors == 0 ? "no medium" : $"null disk, {CapacitySectors} sectors, nothing is stored";

    public override TResult Accept<TResult>(IDiskVisitor<TResult> visitor) => visitor.Visit(default(NullDiskIo));
}

public readonly struct NullDiskIo : IDiskIo
{
    public static bool MovesData => false;

    public void Attach(in DiskAttachment attachment) { }

    public void Detach() { }

    public int Start(in DiskOperation operation) =>
        operation.Kind is DiskOperationKind.Read or DiskOperationKind.Write ? operation.LengthBytes : 0;

    public int Reap(Span<DiskCompletion> completions) => 0;
}
