namespace Blkring.Engine.Disks;

/// <summary>How a <see cref="FileDisk"/> opens its image.</summary>
public sealed class FileDiskOptions
{
    /// <summary>
    /// False opens the image read-only, whatever its permissions. True fails where this process may not write; the disk
    /// is still read-only if the file has no write permission at all or the device says that it is read-only.
    /// </summary>
    public bool Writable { get; init; }
    public CacheMode Cache { get; init; } = CacheMode.None;

    /// <summary>Who opens the image.</summary>
    public IFileOpener Opener { get; init; } = OwnOpener.Instance;

    /// <summary>The least alignment of transfers: 4096 treats the image as a 4Kn disk, whatever it supports.</summary>
    public int MinAlignmentBytes { get; init; } = Disk.SectorBytes;

    /// <summary>
    /// False leaves the image unlocked, so that it can be shared. See <see cref="FileDisk.LockToServe"/>.
    /// </summary>
    public bool Lock { get; init; } = true;

    /// <summary>How long to wait for an image that somebody else holds.</summary>
    public TimeSpan LockTimeout { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>The clock of that wait.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>How it sleeps between two tries.</summary>
    public Action<TimeSpan> Sleep { get; init; } = Thread.Sleep;

    /// <summary>The least length of the image; a shorter one is an error.</summary>
    public long MinLengthBytes { get; init; } = Disk.SectorBytes;

    /// <summary>The system calls; a test passes its own.</summary>
    internal ImageCalls Calls { get; init; } = ImageCalls.Kernel;
}
