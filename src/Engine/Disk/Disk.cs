namespace Blkring.Engine;

/// <summary>
/// A virtual disk's backing store: the control plane's view. Owns descriptors or memory; several queues may use it.
/// The data plane's view is an <see cref="IDiskIo"/> that <see cref="Accept{TResult}"/> hands to whoever builds a queue.
/// </summary>
public abstract class Disk : IDisposable
{
    /// <summary>blkif counts in these, whatever the disk's own sector is (blkif.h, sector-size).</summary>
    public const int SectorBytes = 512;
    public const int SectorShift = 9;

    private long _capacitySectors;
    private int _discardRefused;

    protected Disk(long capacitySectors, bool readOnly)
    {
        _capacitySectors = capacitySectors;
        ReadOnly = readOnly;
    }

    /// <summary>Length in 512-byte sectors. Changes only by <see cref="Resize"/>.</summary>
    public long CapacitySectors => Volatile.Read(ref _capacitySectors);

    public bool ReadOnly { get; }

    /// <summary>Whether a discarded range reads as zeros afterwards. Where not, its content is undefined.</summary>
    public abstract bool DiscardZeroes { get; }

    /// <summary>Offered until the store answers EOPNOTSUPP once.</summary>
    public bool DiscardSupported => !ReadOnly && Volatile.Read(ref _discardRefused) == 0;

    /// <summary>One line for people: what it is, how it is opened and why.</summary>
    public abstract string Describe();

    /// <summary>Gives the visitor this disk's data plane by its own type, so that the queue is compiled for it.</summary>
    public abstract TResult Accept<TResult>(IDiskVisitor<TResult> visitor);

    /// <summary>Requests up to the new length are served from now on (B23). The store itself must already be that long.</summary>
    public virtual void Resize(long capacitySectors)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacitySectors, 1);
        Volatile.Write(ref _capacitySectors, capacitySectors);
    }

    /// <summary>The store cannot discard: later requests are answered EOPNOTSUPP without trying.</summary>
    internal void RefuseDiscard() => Volatile.Write(ref _discardRefused, 1);

    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing)
    {
    }
}

/// <summary>Takes a disk's data plane by its own type.</summary>
public interface IDiskVisitor<out TResult>
{
    TResult Visit<TDisk>(TDisk io) where TDisk : struct, IDiskIo;
}
