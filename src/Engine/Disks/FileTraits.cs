namespace Blkring.Engine.Disks;

/// <summary>What the data plane of a <see cref="FileDisk"/> has to know of its file.</summary>
[Flags]
public enum FileTraits
{
    None,

    /// <summary>The reactor's thread does transfers and flushes itself: <see cref="FileDisk.IsInMemory"/>.</summary>
    AtOnce = 1,

    /// <summary>Each write would have to wait, so none is tried: the page cache.</summary>
    WritesWait = 2,

    /// <summary>
    /// A regular file through the page cache: io_uring sorts its writes and punched holes into 64 lines by the hash of
    /// the inode, and does those of one line one after another. One that hangs would hold up those of other files in
    /// its line. Direct writes are not hashed on file systems that do them in parallel (ext4 and xfs, Linux 6.5).
    /// </summary>
    Hashed = 4,
}
