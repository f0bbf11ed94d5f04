using Blkring.Engine.Disks;

namespace Blkring.Xenbus.Tests.Kit;

/// <summary>
/// A disk of zeros whose code has a bug: an operation at one sector throws, as often as it is told to.
/// </summary>
internal sealed class FaultyDisk(long capacitySectors) : Disk(capacitySectors, readOnly: false)
{
    public const long BadSector = 64,
        HungSector = 128;

    private readonly List<DiskCompletion> _hung = [];
    private volatile bool _released;
    private int _failures;

    /// <summary>How often the operation still throws.</summary>
    public int Failures
    {
        get => Volatile.Read(ref _failures);
        set => Volatile.Write(ref _failures, value);
    }

    /// <summary>How often it threw.</summary>
    public int Thrown { get; private set; }

    public override bool DiscardZeroes => false;

    public override string Describe() => "faulty disk";

    public override TResult Accept<TResult>(IDiskVisitor<TResult> visitor) => visitor.Visit(new FaultyDiskIo(this));

    /// <summary>
    /// Completes what is under way at <see cref="HungSector"/>. The queues notice at their next pass.
    /// </summary>
    public void Release() => _released = true;

    internal int Start(in DiskOperation operation)
    {
        long sector = operation.OffsetBytes >> SectorShift;
        if (sector == HungSector && !_released)
        {
            _hung.Add(new DiskCompletion { Tag = operation.Tag, Result = operation.LengthBytes });
            return IDiskIo.Pending;
        }
        if (sector != BadSector || Failures == 0)
            return operation.LengthBytes;
        Failures--;
        Thrown++;
        throw new InvalidOperationException("the disk's code has a bug");
    }

    internal int Reap(Span<DiskCompletion> completions)
    {
        int count = 0;
        for (; _released && count < completions.Length && _hung.Count > 0; count++)
        {
            completions[count] = _hung[^1];
            _hung.RemoveAt(_hung.Count - 1);
        }
        return count;
    }

    protected override void Dispose(bool disposing) { }

    private readonly struct FaultyDiskIo(FaultyDisk disk) : IDiskIo
    {
        public static bool MovesData => true;

        public void Attach(in DiskAttachment attachment) { }

        public void Detach() { }

        public int Start(in DiskOperation operation) => disk.Start(in operation);

        public int Reap(Span<DiskCompletion> completions) => disk.Reap(completions);
    }
}
