using Blkring.Engine.Disks;

namespace Blkring.Xenbus.Tests.Kit;

/// <summary>A disk whose flushes do what <see cref="Result"/> says; an image with an identity.</summary>
/// <param name="result">0 or -errno, for the guest's flushes and for the daemon's own.</param>
internal sealed class FlushingDisk(Func<int> result) : Disk(World.Sectors, readOnly: false)
{
    private int _ownFlushes;

    /// <summary>Flushes of the control plane.</summary>
    public int OwnFlushes => Volatile.Read(ref _ownFlushes);

    public override bool DiscardZeroes => false;

    public override ImageIdentity Identity => new("test:flushing", true, World.Sectors * SectorBytes);

    public override string Describe() => "disk that flushes";

    public override int Flush(TimeSpan timeout)
    {
        Interlocked.Increment(ref _ownFlushes);
        return -result();
    }

    public override TResult Accept<TResult>(IDiskVisitor<TResult> visitor) => visitor.Visit(new Io(result));

    private readonly struct Io(Func<int> result) : IDiskIo
    {
        public static bool MovesData => true;

        public void Attach(in DiskAttachment attachment) { }

        public void Detach() { }

        public int Start(in DiskOperation operation) =>
            operation.Kind == DiskOperationKind.Flush ? result() : operation.LengthBytes;

        public int Reap(Span<DiskCompletion> completions) => 0;
    }
}
