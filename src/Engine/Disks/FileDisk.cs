using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// A raw image file or a block device. Its data plane is <see cref="FileDiskIo"/>: io_uring, or a thread of the
/// disk where io_uring is refused.
/// </summary>
public sealed class FileDisk : Disk
{
    private readonly ImageFile _image;
    private readonly SharedImage _shared;
    private readonly DiskThread _transfers,
        _discards;

    private FileDisk(ImageFile image, SharedImage shared)
        : base(image.LengthBytes >> SectorShift, image.ReadOnly)
    {
        (_image, _shared, Lost) = (image, shared, shared.Lost);
        _transfers = new DiskThread(image.Descriptor, Lost);
        _discards = new DiskThread(image.Descriptor);
        IsInMemory =
            !image.IsBlockDevice
            && Libc.Fstatfs(image.Descriptor.Value, out statfs fileSystem) >= 0
            && fileSystem.f_type == Libc.TMPFS_MAGIC;
        AlignmentBytes = image.AlignmentBytes;
        // A file has only one method: punching holes.
        if (image.IsBlockDevice)
            LastDiscardMethod = DiscardMethod.Ioctl;
        DiskGeometry geometry = DiskGeometry.Of(image.Descriptor, image.IsBlockDevice);
        LogicalSectorBytes = Math.Max(geometry.LogicalSectorBytes, AlignmentBytes);
        PhysicalSectorBytes = Math.Max(geometry.PhysicalSectorBytes, LogicalSectorBytes);
        DiscardBlockBytes = image.IsBlockDevice ? geometry.LogicalSectorBytes : SectorBytes;
        DiscardGranularityBytes = Math.Max(geometry.DiscardGranularityBytes, AlignmentBytes);
        DiscardAlignmentBytes = geometry.DiscardAlignmentBytes;
    }

    /// <summary>Opens and checks an image.</summary>
    /// <exception cref="ImageException">It cannot be served.</exception>
    public static FileDisk Open(string path, FileDiskOptions options)
    {
        ImageFile image = ImageFile.Open(path, options);
        SharedImage shared = SharedImage.Take(image.Descriptor, image.IsBlockDevice);
        try
        {
            return new FileDisk(image, shared);
        }
        catch
        {
            shared.Release();
            image.Dispose();
            throw;
        }
    }

    public string Path => _image.Path;

    public override ImageIdentity? Identity => ImageIdentity.Of(_image.Descriptor, IsBlockDevice, MeasureBytes());

    /// <summary>Whether O_DIRECT is in use.</summary>
    public bool Direct => _image.Direct;
    public bool IsBlockDevice => _image.IsBlockDevice;

    /// <summary>Which lock is held.</summary>
    public ImageLock HeldLock => _image.Guard.HeldLock;

    /// <summary>Whether a block device is claimed: the kernel then lets nobody else use it exclusively.</summary>
    public bool IsClaimed => _image.Guard.IsClaimed;

    /// <summary>
    /// Whether the file system is tmpfs. tmpfs has no non-blocking transfers, so io_uring would hand each one to a
    /// worker thread, which costs more than the transfer itself: the reactor's thread does them instead.
    /// </summary>
    public bool IsInMemory { get; }

    // fallocate(2): a punched hole reads as zeros, in a file and on a block device. Partially covered blocks are not
    // discarded, so with blocks larger than a sector some discarded sectors keep their content.
    public override bool DiscardZeroes => DiscardMethod == DiscardMethod.PunchHole && DiscardBlockBytes == SectorBytes;

    public override bool CachesWrites => !Direct && !IsInMemory;

    public override bool SyncsWrites => (_image.OpenFlags & Libc.O_DSYNC) != 0;

    private protected override BlockRanges NewRanges() => _shared.Ranges;

    public override bool PinsPages => Direct && !IsInMemory;

    /// <summary>The current length of the image in bytes, which may have grown since it was opened.</summary>
    /// <exception cref="ImageException">The length cannot be read.</exception>
    public long MeasureBytes() => _image.MeasureBytes();

    /// <summary>
    /// Locks the image (flock(2)): readers share it, a writer has it alone. The lock lasts as long as the open file:
    /// when the process is killed, until the kernel has finished the last of its requests, so the next holder's
    /// requests come after them. On a file system without locks, nothing is locked and nothing is refused.
    /// </summary>
    /// <exception cref="ImageException">
    /// It could not be locked within <paramref name="timeout"/>, because of another process or of an error of the file
    /// system: <see cref="ImageException.MayBeFreeLater"/>.
    /// </exception>
    public void Lock(TimeSpan timeout) => _image.Guard.Lock(timeout);

    /// <summary>
    /// Locks the image and, if it is a block device to be written, claims it (O_EXCL), as a mount does. Before the
    /// first queue: the claim takes the place of the descriptor.
    /// </summary>
    /// <exception cref="ImageException">As <see cref="Lock"/>, or this host uses the device.</exception>
    public void LockToServe(TimeSpan timeout) => _image.Guard.LockToServe(timeout);

    public override int Flush(TimeSpan timeout) => IsInMemory ? 0 : TimedFlush.Run(_image.Descriptor, timeout);

    public override string Describe() =>
        $"{(IsBlockDevice ? "block device" : "raw image")} {Path}, {CapacitySectors} sectors, "
        + $"{_image.Access}{(IsInMemory ? ", in memory" : "")}";

    public override TResult Accept<TResult>(IDiskVisitor<TResult> visitor) =>
        visitor.Visit(new FileDiskIo(_image.Descriptor, _transfers, _discards, this, Traits));

    private FileTraits Traits =>
        (IsInMemory ? FileTraits.AtOnce : FileTraits.None)
        | (Direct ? FileTraits.None : FileTraits.WritesWait)
        | (Direct || IsBlockDevice ? FileTraits.None : FileTraits.Hashed);

    protected override void Dispose(bool disposing)
    {
        if (!disposing)
            return;
        _transfers.Dispose();
        _discards.Dispose();
        _image.Dispose();
        _shared.Release();
    }
}
