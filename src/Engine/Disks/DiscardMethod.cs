using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// How a disk discards: a method that the store refuses is given up for the next, for good and for all queues of the
/// disk.
/// </summary>
public enum DiscardMethod : byte
{
    /// <summary>
    /// fallocate(2) with FALLOC_FL_PUNCH_HOLE: what is discarded reads as zeros. A block device does it by writing
    /// zeros with unmap.
    /// </summary>
    PunchHole,

    /// <summary>
    /// A block device's own discard, BLOCK_URING_CMD_DISCARD: what is discarded is undefined. Linux 6.12.
    /// </summary>
    UringCommand,

    /// <summary>The same by ioctl BLKDISCARD, which waits until it is done.</summary>
    Ioctl,

    /// <summary>Not at all.</summary>
    None,
}

internal static class DiscardMethods
{
    /// <summary>
    /// Whether an errno means that the store will never discard in this way; any other is about one request.
    /// </summary>
    public static bool Refuses(this DiscardMethod method, int errno) =>
        errno switch
        {
            Errno.EOPNOTSUPP => true,
            // A security policy may forbid commands through io_uring and nothing else.
            Errno.EACCES or Errno.EPERM => method == DiscardMethod.UringCommand,
            Errno.ENOTTY => method == DiscardMethod.Ioctl,
            _ => false,
        };
}
