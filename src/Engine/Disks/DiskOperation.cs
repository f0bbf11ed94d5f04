using Blkring.Interop;

namespace Blkring.Engine.Disks;

public enum DiskOperationKind : byte
{
    Read,
    Write,

    /// <summary>When it completes, every write that completed before it started is on stable storage.</summary>
    Flush,
    Discard,
}

/// <summary>
/// One operation for a disk. The queue has checked it: offset and length are whole sectors, multiples of the disk's
/// alignment, and within the disk.
/// </summary>
public unsafe struct DiskOperation
{
    /// <summary>UIO_MAXIOV: the most vectors that the kernel takes in one call.</summary>
    public const int MaxVectors = 1024;

    public DiskOperationKind Kind;

    /// <summary>Bytes from the start of the disk.</summary>
    public long OffsetBytes;

    /// <summary>
    /// At most 16 MiB for reads and writes (44 KiB for direct requests), at most 2 GiB less a sector for a discard.
    /// </summary>
    public int LengthBytes;

    /// <summary>
    /// The data, in the queue's arena or in mapped pages of the guest; it belongs to the disk until the completion.
    /// Unused if there are <see cref="Vectors"/>.
    /// </summary>
    public byte* Buffer;

    /// <summary>The data in several places, <see cref="LengthBytes"/> in total; belongs to the disk as well.</summary>
    public iovec* Vectors;

    /// <summary>The number of vectors; 0 if the data is at <see cref="Buffer"/>.</summary>
    public int VectorCount;

    /// <summary>
    /// The method of a discard: <see cref="Disk.DiscardMethod"/> as it was when the request began. A refusal is
    /// reported for this method.
    /// </summary>
    public DiscardMethod DiscardMethod;

    /// <summary>
    /// Whether a transfer may wait on a thread of the kernel's. One that may not is reported back with EAGAIN where it
    /// would have to: <see cref="IDiskIo.TriesTransfers"/>.
    /// </summary>
    public bool MayWait;

    /// <summary>An opaque value that the completion carries.</summary>
    public ulong Tag;
}

/// <summary>A completion that a disk reports itself instead of through the reactor's io_uring.</summary>
public struct DiskCompletion
{
    public ulong Tag;

    /// <summary>The number of bytes transferred (0 for flush and discard), or a negative errno.</summary>
    public int Result;
}
