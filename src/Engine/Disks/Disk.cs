using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// The backing store of a virtual disk, as the control plane sees it: its length, its properties, and the ownership of
/// its descriptors or memory. Any number of queues may use it, on any threads.
/// </summary>
/// <remarks>
/// <b>A further kind of disk</b> needs one file with two types: a subclass of this class, and a struct that implements
/// <see cref="IDiskIo"/>, its data plane, which <see cref="Accept{TResult}"/> hands to the
/// <see cref="IDiskVisitor{TResult}"/>. The queue is then compiled for that struct, so nothing else has to know it;
/// what opens the disk (for the daemon, DeviceDisk of Xenbus) creates an instance. <see cref="NullDisk"/> is the
/// smallest example, <see cref="MemoryDisk"/> one that transfers data, <see cref="FileDisk"/> with
/// <see cref="FileDiskIo"/> one that completes later.
/// <para>
/// <b>Threads.</b> A control-plane thread creates, resizes and disposes the disk. The reactors' threads call
/// <see cref="RefuseDiscard(DiscardMethod)"/> and read the properties. Whatever changes after construction
/// (<see cref="CapacitySectors"/>, <see cref="DiscardMethod"/>) is read and written atomically.
/// </para>
/// <para>
/// <b>Lifetime.</b> The disk is disposed after its last queue: a queue's data plane uses the descriptors and memory
/// without holding them.
/// </para>
/// <para>
/// <b>Read-only.</b> If <see cref="ReadOnly"/>, the device is announced as read-only and the queue rejects every
/// request that would change the disk before it becomes an operation, so a data plane never sees one. The store is
/// opened read-only as well, where it can be.
/// </para>
/// </remarks>
public abstract class Disk : IDisposable
{
    /// <summary>The unit in which blkif counts, whatever the disk's own sector is (blkif.h, sector-size).</summary>
    public const int SectorBytes = 512;
    public const int SectorShift = 9;

    private readonly int _alignmentBytes = SectorBytes;
    private readonly int _discardBlockBytes = SectorBytes;
    private long _capacitySectors;
    private int _discardMethod;
    private bool _triesRefused;

    protected Disk(long capacitySectors, bool readOnly)
    {
        _capacitySectors = capacitySectors;
        ReadOnly = readOnly;
    }

    /// <summary>The length in 512-byte sectors. Only <see cref="Resize"/> changes it.</summary>
    public long CapacitySectors => Volatile.Read(ref _capacitySectors);

    public bool ReadOnly { get; }

    /// <summary>The store's own sector, 512 or 4096 bytes (BLKSSZGET).</summary>
    public int LogicalSectorBytes { get; protected init; } = SectorBytes;

    /// <summary>The unit that the store writes without reading it first (BLKPBSZGET): physical-sector-size.</summary>
    public int PhysicalSectorBytes { get; protected init; } = SectorBytes;

    /// <summary>
    /// The unit of the offset and length of every transfer: the logical sector with O_DIRECT, 512 bytes through the
    /// page cache, never more than a page. Queues turn other writes into a read-modify-write.
    /// </summary>
    public int AlignmentBytes
    {
        get => _alignmentBytes;
        protected init
        {
            _alignmentBytes = value;
            Ranges = value > SectorBytes ? NewRanges() : null;
        }
    }

    /// <summary>
    /// The number of sectors that can be served of a store with that length: an incomplete last block cannot be
    /// written.
    /// </summary>
    public long SectorsOf(long lengthBytes) => (lengthBytes & -_alignmentBytes) >> SectorShift;

    /// <summary>The ranges that are being written; null if <see cref="AlignmentBytes"/> is one sector.</summary>
    internal BlockRanges? Ranges { get; private init; }

    /// <summary>The ranges that the disk shares with other disks of the same store, if there can be any.</summary>
    private protected virtual BlockRanges NewRanges() => new();

    /// <summary>Whether writes that were answered may be lost, so that no flush succeeds any more.</summary>
    public LostWrites Lost { get; private protected init; } = new();

    /// <summary>Answered writes lie in memory of this host until a flush: the page cache.</summary>
    public virtual bool CachesWrites => false;

    /// <summary>The flushes under way, where <see cref="CachesWrites"/>.</summary>
    public FlushWatch Flushes { get; } = new();

    /// <summary>The answer to a write promises that it is on stable storage (O_DSYNC).</summary>
    public virtual bool SyncsWrites => false;

    /// <summary>
    /// Whether a failed write may have lost writes before it. In the page cache only: without it, an error concerns the
    /// write that it answers. What the page cache has no room for it has not begun. But a write with O_DSYNC may report
    /// the writeback of another one that was under way at the same time, which then succeeds.
    /// </summary>
    /// <param name="errno">Positive.</param>
    internal bool MayLoseBy(int errno) =>
        CachesWrites && (SyncsWrites || errno is not (Errno.ENOSPC or Errno.EDQUOT or Errno.EFBIG));

    /// <summary>
    /// The unit of the offset and length of every discard: a block device's logical sector, whatever cache is used.
    /// Queues keep to it.
    /// </summary>
    public int DiscardBlockBytes
    {
        get => Math.Max(_discardBlockBytes, _alignmentBytes);
        protected init => _discardBlockBytes = value;
    }

    /// <summary>
    /// The smallest unit that a discard frees: discard-granularity; 0 if the store does not report it.
    /// </summary>
    public int DiscardGranularityBytes { get; protected init; } = SectorBytes;

    /// <summary>The offset of the first of those units from the start of the disk: discard-alignment.</summary>
    public int DiscardAlignmentBytes { get; protected init; }

    /// <summary>Whether a discarded range reads as zeros. If not, its content is undefined.</summary>
    public abstract bool DiscardZeroes { get; }

    /// <summary>
    /// The method of discards from now on. Only <see cref="RefuseDiscard(DiscardMethod)"/> changes it.
    /// </summary>
    public DiscardMethod DiscardMethod => (DiscardMethod)Volatile.Read(ref _discardMethod);

    /// <summary>The last method to try.</summary>
    protected DiscardMethod LastDiscardMethod { get; init; } = DiscardMethod.PunchHole;

    /// <summary>Whether discards are offered: until the store has refused every method.</summary>
    public bool DiscardSupported => !ReadOnly && DiscardMethod != DiscardMethod.None;

    /// <summary>
    /// Whether the kernel pins the pages of a transfer's memory while it is in flight, even after the process has
    /// ended.
    /// </summary>
    public virtual bool PinsPages => false;

    /// <summary>Which image this is, whatever its path; null for a disk that is none.</summary>
    public virtual ImageIdentity? Identity => null;

    /// <summary>One line for people: what the disk is, how it was opened and why.</summary>
    public abstract string Describe();

    /// <summary>Hands this disk's data plane to the visitor, with its concrete type.</summary>
    public abstract TResult Accept<TResult>(IDiskVisitor<TResult> visitor);

    /// <summary>
    /// Serves requests up to the new length from now on (B23). The store itself must already have that length.
    /// </summary>
    public virtual void Resize(long capacitySectors)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacitySectors, 1);
        Volatile.Write(ref _capacitySectors, capacitySectors);
    }

    /// <summary>Turns discards off: requests are answered BLKIF_RSP_EOPNOTSUPP without asking the store.</summary>
    internal void RefuseDiscard() => Volatile.Write(ref _discardMethod, (int)DiscardMethod.None);

    /// <summary>Records that the store refuses a method: later requests use the next one. From any thread.</summary>
    /// <returns>False if no method is left.</returns>
    internal bool RefuseDiscard(DiscardMethod refused)
    {
        DiscardMethod next = refused < LastDiscardMethod ? refused + 1 : DiscardMethod.None;
        // Several queues learn of the same refusal one after another: only the first may move on to the next method.
        Interlocked.CompareExchange(ref _discardMethod, (int)next, (int)refused);
        return DiscardSupported;
    }

    /// <summary>
    /// The store cannot start a transfer that does not wait, so none is tried: network file systems, and device-mapper
    /// targets without REQ_NOWAIT.
    /// </summary>
    internal bool TriesRefused => Volatile.Read(ref _triesRefused);

    internal void NoteTriesRefused() => Volatile.Write(ref _triesRefused, true);

    /// <summary>
    /// Brings all answered writes to stable storage, for who reads the image when this host no longer serves it. For
    /// the control plane: it waits.
    /// </summary>
    /// <returns>0, or a positive errno: ETIMEDOUT if it still goes on after the timeout.</returns>
    public virtual int Flush(TimeSpan timeout) => 0;

    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing) { }
}
