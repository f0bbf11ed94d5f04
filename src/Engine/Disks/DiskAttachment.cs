using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>What a data plane may use between <see cref="IDiskIo.Attach"/> and <see cref="IDiskIo.Detach"/>.</summary>
public readonly unsafe struct DiskAttachment
{
    /// <summary>The reactor's io_uring; null where io_uring is refused.</summary>
    public IoUring? Ring { get; init; }

    /// <summary>
    /// The queue's data buffers, for registration with the ring; null if the queue has no data in memory of its own.
    /// </summary>
    public byte* Buffers { get; init; }
    public nuint BuffersLengthBytes { get; init; }

    /// <summary>The greatest number of operations that the queue has under way.</summary>
    public int MaxOperations { get; init; }

    /// <summary>
    /// Schedules a pass of the queue, from any thread: call it when there is something for <see cref="IDiskIo.Reap"/>,
    /// and not after <see cref="IDiskIo.Detach"/>. Null if the queue's owner looks for completions anyway.
    /// </summary>
    public Action? Wake { get; init; }
}
