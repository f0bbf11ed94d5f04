namespace Blkring.Engine.Queues;

/// <summary>
/// What happens while a disk is full or gone. The requests that it refused for that reason are kept unanswered, and no
/// more are taken: the owner lets the ring go, and another queue replays them from the journal when the disk is back.
/// </summary>
/// <param name="keeps">Whether requests are kept; if not, they fail at once.</param>
internal struct LostDisk(bool keeps, SlotList empty)
{
    private bool _keeps = keeps;

    /// <summary>The requests kept.</summary>
    public SlotList Requests = empty;

    /// <summary>Why the first of them was kept, a positive errno; 0 while there is none.</summary>
    public int Errno { get; private set; }

    public readonly bool Keeps(int errno) => _keeps && IsLoss(errno);

    public void Keep(int index, ref RequestSlot slot, int errno)
    {
        slot.Stage = SlotStage.Lost;
        // No completion may be taken for this request's any more.
        slot.Generation++;
        Requests.Add(index);
        if (Errno == 0)
            Errno = errno;
    }

    /// <summary>From here on requests fail.</summary>
    public void GiveUp() => (_keeps, Errno) = (false, 0);

    /// <summary>
    /// The disk has no room, or is not there: a thin pool or quota that is full, a device that was unplugged, all paths
    /// down, a file of another export. Other errors say something about a request, not about the disk.
    /// </summary>
    private static bool IsLoss(int errno) =>
        errno
            is Interop.Errno.ENOSPC
                or Interop.Errno.EDQUOT
                or Interop.Errno.ENODEV
                or Interop.Errno.ENXIO
                or Interop.Errno.ESTALE;
}
