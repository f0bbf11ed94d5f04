using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// The ways to discard, in the order in which a disk tries them. Once the store has refused one, every queue of the
/// disk uses the next from then on.
/// </summary>
public enum DiscardMethod : byte
{
    /// <summary>
    /// fallocate(2) with FALLOC_FL_PUNCH_HOLE: the discarded range reads as zeros. A block device implements it by
    /// writing zeros with unmap.
    /// </summary>
    PunchHole,

    /// <summary>
    /// A block device's own discard, BLOCK_URING_CMD_DISCARD (Linux 6.12): the content of the range is undefined
    /// afterwards.
    /// </summary>
    UringCommand,

    /// <summary>The same by ioctl BLKDISCARD, which blocks until the device has finished.</summary>
    Ioctl,

    /// <summary>The store cannot discard.</summary>
    None,
}

internal static class DiscardMethods
{
    /// <summary>
    /// Whether an errno means that the store never discards in this way; any other errno concerns one request.
    /// </summary>
    public static bool Refuses(this DiscardMethod method, int errno) =>
        errno switch
        {
            Errno.EOPNOTSUPP => true,
            // A security policy may forbid commands through io_uring while it permits the ioctl.
            Errno.EACCES or Errno.EPERM => method == DiscardMethod.UringCommand,
            Errno.ENOTTY => method == DiscardMethod.Ioctl,
            _ => false,
        };
}
