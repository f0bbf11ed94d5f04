using System.Collections.Concurrent;
using Blkring.Engine.Disks;

namespace Blkring.Xenbus.Tests.Kit;

/// <summary>A disk whose every operation stays under way until it is released.</summary>
internal sealed class HungDisk(long capacitySectors) : Disk(capacitySectors, readOnly: false)
{
    // One for each queue of the disk.
    private readonly ConcurrentBag<ConcurrentQueue<DiskCompletion>> _underWay = [];
    private volatile bool _released;

    public bool HasRequests => Requests > 0;
    public int Requests => _underWay.Sum(queue => queue.Count);
    public bool IsDisposed { get; private set; }

    public override bool DiscardZeroes => false;

    public override string Describe() => "hung disk";

    public override TResult Accept<TResult>(IDiskVisitor<TResult> visitor) =>
        visitor.Visit(new HungDiskIo(this, AddQueue()));

    /// <summary>Completes what is in flight with success. The queues notice at their next turn.</summary>
    public void Release() => _released = true;

    private ConcurrentQueue<DiskCompletion> AddQueue()
    {
        ConcurrentQueue<DiskCompletion> queue = new();
        _underWay.Add(queue);
        return queue;
    }

    protected override void Dispose(bool disposing) => IsDisposed = true;

    private readonly struct HungDiskIo(HungDisk disk, ConcurrentQueue<DiskCompletion> underWay) : IDiskIo
    {
        public static bool MovesData => true;

        public void Attach(in DiskAttachment attachment) { }

        public void Detach() { }

        public int Start(in DiskOperation operation)
        {
            underWay.Enqueue(new DiskCompletion { Tag = operation.Tag, Result = operation.LengthBytes });
            return IDiskIo.Pending;
        }

        public int Reap(Span<DiskCompletion> completions)
        {
            int count = 0;
            while (disk._released && count < completions.Length && underWay.TryDequeue(out DiskCompletion completion))
                completions[count++] = completion;
            return count;
        }
    }
}
