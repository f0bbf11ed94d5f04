using System.Collections.Concurrent;
using Blkring.Engine.Disks;

namespace Blkring.Xenbus.Tests.Kit;

/// <summary>A disk whose every operation stays under way until it is released.</summary>
internal sealed class HungDisk(long capacitySectors) : Disk(capacitySectors, readOnly: false)
{
    private readonly ConcurrentQueue<DiskCompletion> _underWay = new();
    private volatile bool _released;

    public bool HasRequests => !_underWay.IsEmpty;
    public int Requests => _underWay.Count;
    public bool IsDisposed { get; private set; }

    public override bool DiscardZeroes => false;

    public override string Describe() => "hung disk";

    public override TResult Accept<TResult>(IDiskVisitor<TResult> visitor) => visitor.Visit(new HungDiskIo(this));

    /// <summary>Completes what is in flight with success. The queues notice at their next turn.</summary>
    public void Release() => _released = true;

    internal int Start(in DiskOperation operation)
    {
        _underWay.Enqueue(new DiskCompletion { Tag = operation.Tag, Result = operation.LengthBytes });
        return IDiskIo.Pending;
    }

    internal int Reap(Span<DiskCompletion> completions)
    {
        int count = 0;
        while (_released && count < completions.Length && _underWay.TryDequeue(out DiskCompletion completion))
            completions[count++] = completion;
        return count;
    }

    protected override void Dispose(bool disposing) => IsDisposed = true;

    private readonly struct HungDiskIo(HungDisk disk) : IDiskIo
    {
        public static bool MovesData => true;

        public void Attach(in DiskAttachment attachment) { }

        public void Detach() { }

        public int Start(in DiskOperation operation) => disk.Start(in operation);

        public int Reap(Span<DiskCompletion> completions) => disk.Reap(completions);
    }
}
