namespace Blkring.Engine.Disks;

/// <summary>
/// A virtual disk's backing store: the control plane's view. Owns descriptors or memory; several queues may use it. The
/// data plane's view is an <see cref="IDiskIo"/> that <see cref="Accept{TResult}"/> hands to whoever builds a queue.
/// </summary>
public abstract class Disk : IDisposable
{
    /// <summary>blkif counts in these, whatever the disk's own sector is (blkif.h, sector-size).</summary>
    public const int SectorBytes = 512;
    public const int SectorShift = 9;

    private long _capacitySectors;
    private int _discardMethod;

    protected Disk(long capacitySectors, bool readOnly)
    {
        _capacitySectors = capacitySectors;
        ReadOnly = readOnly;
    }

    /// <summary>Length in 512-byte sectors. Changes only by <see cref="Resize"/>.</summary>
    public long CapacitySectors => Volatile.Read(ref _capacitySectors);

    public bool ReadOnly { get; }

    /// <summary>The store's own sector (BLKSSZGET): 512 or 4096.</summary>
    public int LogicalSectorBytes { get; protected init; } = SectorBytes;

    /// <summary>What the store writes in one piece (BLKPBSZGET): physical-sector-size.</summary>
    public int PhysicalSectorBytes { get; protected init; } = SectorBytes;

    /// <summary>
    /// What offset and length of each transfer must be multiples of, in bytes: with O_DIRECT the logical sector,
    /// through the page cache
    /// 512. Queues see to it; at most a page.
    /// </summary>
    public int AlignmentBytes
    {
        get => _alignmentBytes;
        protected init
        {
            _alignmentBytes = value;
            Ranges = value > SectorBytes ? new BlockRanges() : null;
        }
    }

    private readonly int _alignmentBytes = SectorBytes;

    /// <summary>
    /// Sectors of a store of that length that can be served: of a block that it has only in part nothing can be
    /// written.
    /// </summary>
    public long SectorsOf(long lengthBytes) => (lengthBytes & -_alignmentBytes) >> SectorShift;

    /// <summary>
    /// Where <see cref="AlignmentBytes"/> is more than a sector: the blocks that writes are under way on.
    /// </summary>
    internal BlockRanges? Ranges { get; private init; }

    /// <summary>
    /// What offset and length of each discard must be multiples of, in bytes: of a block device its logical sector,
    /// whatever cache stands before it. Queues see to it.
    /// </summary>
    public int DiscardBlockBytes
    {
        get => Math.Max(_discardBlockBytes, _alignmentBytes);
        protected init => _discardBlockBytes = value;
    }

    private readonly int _discardBlockBytes = SectorBytes;

    /// <summary>What the store discards in one piece: discard-granularity; 0 when it does not say.</summary>
    public int DiscardGranularityBytes { get; protected init; } = SectorBytes;

    /// <summary>Where the first of those pieces starts, from the start of the disk: discard-alignment.</summary>
    public int DiscardAlignmentBytes { get; protected init; }

    /// <summary>Whether a discarded range reads as zeros afterwards. Where not, its content is undefined.</summary>
    public abstract bool DiscardZeroes { get; }

    /// <summary>
    /// How discards are done now. Changes only forward, by <see cref="RefuseDiscard(DiscardMethod)"/>.
    /// </summary>
    public DiscardMethod DiscardMethod => (DiscardMethod)Volatile.Read(ref _discardMethod);

    /// <summary>The method after which there is no other to try.</summary>
    protected DiscardMethod LastDiscardMethod { get; init; } = DiscardMethod.PunchHole;

    /// <summary>Offered until the store has refused every method.</summary>
    public bool DiscardSupported => !ReadOnly && DiscardMethod != DiscardMethod.None;

    /// <summary>One line for people: what it is, how it is opened and why.</summary>
    public abstract string Describe();

    /// <summary>
    /// Gives the visitor this disk's data plane by its own type, so that the queue is compiled for it.
    /// </summary>
    public abstract TResult Accept<TResult>(IDiskVisitor<TResult> visitor);

    /// <summary>
    /// Requests up to the new length are served from now on (B23). The store itself must already be that long.
    /// </summary>
    public virtual void Resize(long capacitySectors)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacitySectors, 1);
        Volatile.Write(ref _capacitySectors, capacitySectors);
    }

    /// <summary>
    /// The kernel holds the pages of a transfer's memory for as long as it is under way, also when the process is gone.
    /// </summary>
    public virtual bool PinsPages => false;

    /// <summary>No discards: requests are answered EOPNOTSUPP without trying.</summary>
    internal void RefuseDiscard() => Volatile.Write(ref _discardMethod, (int)DiscardMethod.None);

    /// <summary>
    /// The store cannot discard in this way: later requests are done in the next one. From any thread.
    /// </summary>
    /// <returns>False when there is no way left.</returns>
    internal bool RefuseDiscard(DiscardMethod refused)
    {
        DiscardMethod next = refused < LastDiscardMethod ? refused + 1 : DiscardMethod.None;
        // Queues hear of the same refusal one after the other: who comes late must not give up what follows.
        Interlocked.CompareExchange(ref _discardMethod, (int)next, (int)refused);
        return DiscardSupported;
    }

    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing) { }
}

/// <summary>Takes a disk's data plane by its own type.</summary>
public interface IDiskVisitor<out TResult>
{
    TResult Visit<TDisk>(TDisk io)
        where TDisk : struct, IDiskIo;
}
