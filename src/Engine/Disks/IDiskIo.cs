namespace Blkring.Engine.Disks;

/// <summary>
/// The data plane of a disk: a struct per kind of disk, a copy of it per queue, so that the queue calls it without
/// dispatch.
/// </summary>
/// <remarks>
/// Every member is called on the reactor's thread that serves the queue. <see cref="Attach"/> and <see cref="Detach"/>
/// may allocate; <see cref="Start"/> and <see cref="Reap"/> neither allocate, wait, nor throw: they report an errno.
/// A data plane does not own the disk's descriptors or memory: the <see cref="Disk"/> does, and outlives every queue.
/// Attached to a ring, it prepares entries and leaves the submission to the reactor.
/// </remarks>
public interface IDiskIo
{
    /// <summary>The result of <see cref="Start"/> for an operation that completes later.</summary>
    const int Pending = int.MinValue;

    /// <summary>False if no data is ever transferred (the null disk): the queue then skips the grant copies.</summary>
    static abstract bool MovesData { get; }

    /// <summary>
    /// Whether a transfer without <see cref="DiskOperation.MayWait"/> never takes a thread while it waits: it ends with
    /// EAGAIN instead, and the queue starts it again with MayWait once it has a place for that. EOPNOTSUPP means that
    /// the store cannot tell: <see cref="Disk.NoteTriesRefused"/>.
    /// </summary>
    static virtual bool TriesTransfers => false;

    /// <summary>Called before the first operation.</summary>
    void Attach(in DiskAttachment attachment);

    /// <summary>Called after the last completion.</summary>
    void Detach();

    /// <summary>Starts one operation.</summary>
    /// <returns>
    /// The number of bytes transferred, where the queue continues a short transfer; or a negative errno, where the
    /// queue requeues the operation after EAGAIN or EINTR; or <see cref="Pending"/>.
    /// </returns>
    int Start(in DiskOperation operation);

    /// <summary>Takes completions that do not come through the reactor's io_uring.</summary>
    /// <returns>The number of completions written to <paramref name="completions"/>.</returns>
    int Reap(Span<DiskCompletion> completions);
}
