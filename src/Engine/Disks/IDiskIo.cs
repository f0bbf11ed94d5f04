using Blkring.Interop;

namespace Blkring.Engine.Disks;

public enum DiskOperationKind : byte
{
    Read,
    Write,

    /// <summary>Everything written before is on stable storage afterwards.</summary>
    Flush,
    Discard,
}

/// <summary>
/// One operation for a disk. Offsets and lengths are whole sectors and lie within the disk: the queue has checked them.
/// </summary>
public unsafe struct DiskOperation
{
    /// <summary>UIO_MAXIOV: what the kernel takes at a time.</summary>
    public const int MaxVectors = 1024;

    public DiskOperationKind Kind;

    /// <summary>Bytes from the start of the disk.</summary>
    public long OffsetBytes;

    /// <summary>
    /// At most 16 MiB for reads and writes (44 KiB for direct requests), at most 2 GiB less a sector for a discard.
    /// </summary>
    public int LengthBytes;

    /// <summary>
    /// Where the data is, in the queue's arena or in mapped pages of the guest; belongs to the disk until the
    /// completion. Of an operation with <see cref="VectorCount"/> it means nothing.
    /// </summary>
    public byte* Buffer;

    /// <summary>The data of a transfer in several places: <see cref="LengthBytes"/> together.</summary>
    public iovec* Vectors;

    /// <summary>0: the data is at <see cref="Buffer"/>.</summary>
    public int VectorCount;

    /// <summary>
    /// Of a discard: how, as <see cref="Disk.DiscardMethod"/> said when the request began; a refusal is about this.
    /// </summary>
    public DiscardMethod DiscardMethod;

    /// <summary>Comes back with the completion.</summary>
    public ulong Tag;
}

/// <summary>A completion that a disk reports by itself, not through the reactor's io_uring.</summary>
public struct DiskCompletion
{
    public ulong Tag;

    /// <summary>Bytes moved (0 for flush and discard), or a negative errno.</summary>
    public int Result;
}

/// <summary>What a disk may use while its queue is attached to a reactor.</summary>
public readonly unsafe struct DiskAttachment
{
    /// <summary>The reactor's io_uring; null where io_uring is refused.</summary>
    public IoUring? Ring { get; init; }

    /// <summary>
    /// The queue's data buffers, to register with the ring; null when the data is never in the queue's own memory.
    /// </summary>
    public byte* Buffers { get; init; }
    public nuint BuffersLengthBytes { get; init; }

    /// <summary>The most discards that the queue has under way at a time.</summary>
    public int MaxDiscards { get; init; }

    /// <summary>
    /// Has the queue turned once more, soon, from any thread: for completions that <see cref="IDiskIo.Reap"/> is to
    /// take. Not to be called after <see cref="IDiskIo.Detach"/>. Null where whoever turns the queue looks for them
    /// anyway.
    /// </summary>
    public Action? Wake { get; init; }
}

/// <summary>
/// The data plane of a disk. Implemented by structs, one a queue, so that a queue calls it without dispatch.
/// </summary>
public interface IDiskIo
{
    /// <summary>The result of <see cref="Start"/> when the completion comes later.</summary>
    const int Pending = int.MinValue;

    /// <summary>False when no byte ever moves (the null disk): the queue then leaves out the grant copies.</summary>
    static abstract bool MovesData { get; }

    /// <summary>Called on the reactor's thread before the first operation.</summary>
    void Attach(in DiskAttachment attachment);

    /// <summary>Called on the reactor's thread after the last completion.</summary>
    void Detach();

    /// <summary>
    /// Starts one operation. Bytes moved (fewer than asked is a short transfer, to be continued), a negative errno, or
    /// <see cref="Pending"/>. Never throws.
    /// </summary>
    int Start(in DiskOperation operation);

    /// <summary>
    /// Takes completions that do not come through the reactor's io_uring; returns how many were written.
    /// </summary>
    int Reap(Span<DiskCompletion> completions);
}
