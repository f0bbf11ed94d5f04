using System.Runtime.CompilerServices;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Memory;
using Blkring.Interop;

namespace Blkring.Engine.Queues;

/// <summary>The memory in which requests' data lies, or is described: buffers, the page pool, scratch memory.</summary>
/// <remarks>
/// <code>
/// direct     the slot's buffer: data                     segments are in the request itself
/// INDIRECT   a run of the pool: segments, then data      copied once, and only the copy is looked at
/// mapped     scratch memory in the place of the data: an iovec and a reference for each segment
/// </code>
/// Safe: the arena does not move, and the queue that uses these pointers owns it.
/// </remarks>
internal readonly unsafe struct QueueMemory
{
    private readonly Arena _arena;
    private readonly byte* _buffers,
        _scratch;
    private readonly nuint _buffersLengthBytes;
    private readonly int _bytesPerSlot;
    private readonly PagePool _pool;
    private readonly DiskCompletion* _completions;

    /// <param name="arena">The memory of all parts of the queue: freed with this.</param>
    public QueueMemory(Arena arena, in QueuePlan plan)
    {
        _arena = arena;
        _bytesPerSlot = plan.BufferPagesPerSlot * Arena.PageBytes;
        _buffersLengthBytes = (nuint)plan.BufferPages * Arena.PageBytes;
        _buffers = arena.Take<byte>(plan.BufferPages * Arena.PageBytes, Arena.PageBytes);
        _pool = new PagePool(
            _buffers + ((nint)plan.Slots * _bytesPerSlot),
            arena.Take<ulong>(PagePool.WordsFor(plan.PoolPages)),
            plan.PoolPages
        );
        _scratch = arena.Take<byte>(plan.ScratchBytes);
        _completions = arena.Take<DiskCompletion>(QueuePlan.ReapBatch);
    }

    /// <summary>All buffers, for the disk to register.</summary>
    public byte* Buffers => _buffers;
    public nuint BuffersLengthBytes => _buffersLengthBytes;

    /// <summary>Where completions of a disk that reports them itself are written.</summary>
    public Span<DiskCompletion> Completions => new(_completions, QueuePlan.ReapBatch);

    /// <summary>The request's data, where it is copied.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte* BufferOf(int index, ref RequestSlot slot) =>
        slot.HasRun ? RunDataOf(ref slot) : _buffers + ((nint)index * _bytesPerSlot);

    /// <summary>The request's segments: in the request, or, of an INDIRECT one, where its list was copied to.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Blkif.RequestSegment* SegmentsOf(ref RequestSlot slot) =>
        slot.HasRun ? (Blkif.RequestSegment*)_pool.At(slot.RunFirst) : (Blkif.RequestSegment*)&slot.Record->Request.Seg;

    /// <summary>Where the vectors of a mapped request are kept, one for each segment at most.</summary>
    public iovec* VectorsOf(int index, ref RequestSlot slot) =>
        (iovec*)(slot.HasRun ? RunDataOf(ref slot) : _scratch + QueuePlan.ScratchOffsetOf(index));

    /// <summary>The grant references, or persistent entries, of a mapped request: one for each segment.</summary>
    public uint* ReferencesOf(int index, ref RequestSlot slot) =>
        (uint*)(VectorsOf(index, ref slot) + slot.Request.NrSegments);

    /// <summary>Where the list of an INDIRECT request is copied to.</summary>
    public byte* ListOf(ref RequestSlot slot) => _pool.At(slot.RunFirst);

    /// <summary>Takes a run of the pool for an INDIRECT request; false when there is no room now.</summary>
    public bool TryTakeRun(ref RequestSlot slot, int pages)
    {
        int first = _pool.TryTake(pages);
        if (first == PagePool.None)
            return false;
        (slot.RunFirst, slot.RunPages) = (first, pages);
        return true;
    }

    public void ReturnRun(ref RequestSlot slot) => _pool.Return(slot.RunFirst, slot.RunPages);

    public void Dispose() => _arena.Dispose();

    private byte* RunDataOf(ref RequestSlot slot) =>
        _pool.At(slot.RunFirst + QueuePlan.ListPagesOf(slot.Request.NrSegments));
}
