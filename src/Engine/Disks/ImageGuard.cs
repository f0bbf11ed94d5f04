using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// Keeps other users away from an open image: by its lock (flock(2)), which other programs respect if they want to,
/// and a writer's block device also by a claim (O_EXCL), which the kernel respects: it mounts no device that is
/// claimed, and claims none that is mounted, in a volume group or a RAID, or used for swapping.
/// </summary>
/// <remarks>
/// A claim belongs to an open file and excludes every other claim, those of the same process included. So the data's
/// own descriptor has it: the kernel then also lets the image's discards drop dirty pages of its cache, and keeps the
/// claim of a killed process until its requests have ended. What only reads claims nothing: readers share a device,
/// with a read-only mount of dom0 too, and a claim cannot be shared.
/// </remarks>
internal sealed class ImageGuard(ImageFile image, FileDiskOptions options)
{
    private static readonly TimeSpan s_retryInterval = TimeSpan.FromMilliseconds(20);

    private readonly ImageCalls _calls = options.Calls;

    public ImageLock HeldLock { get; private set; }
    public bool IsClaimed { get; private set; }

    private bool MayClaim => image is { IsBlockDevice: true, ReadOnly: false };

    /// <summary>See <see cref="FileDisk.Lock"/>.</summary>
    public void Lock(TimeSpan timeout) => Retry(timeout, TryLock);

    /// <summary>See <see cref="FileDisk.LockToServe"/>.</summary>
    public void LockToServe(TimeSpan timeout) => Retry(timeout, () => TryLock() ?? TryClaim());

    /// <summary>
    /// Unlocks. Closing is not enough: a ring may let go of a registered file only later. The claim goes then, too.
    /// </summary>
    public void Unlock() => _ = _calls.Lock(image.Descriptor, Libc.LOCK_UN);

    /// <param name="attempt">Returns null when it has succeeded, or what is wrong.</param>
    private void Retry(TimeSpan timeout, Func<Func<ImageException>?> attempt)
    {
        long start = options.Time.GetTimestamp();
        while (attempt() is { } refusal)
        {
            if (options.Time.GetElapsedTime(start) >= timeout)
                throw refusal();
            options.Sleep(s_retryInterval);
        }
    }

    private Func<ImageException>? TryLock()
    {
        int error = TryLock(image.Descriptor);
        switch (error)
        {
            case 0:
                HeldLock = image.ReadOnly ? ImageLock.Shared : ImageLock.Exclusive;
                return null;
            case -Errno.ENOSYS or -Errno.EOPNOTSUPP or -Errno.EINVAL:
                HeldLock = ImageLock.None;
                return null;
            case -Errno.EAGAIN:
                return () => ImageException.HeldByOther(image.Path, image.ReadOnly);
            default:
                return () => ImageException.CannotLock(image.Path, -error);
        }
    }

    private int TryLock(FileDescriptor file) =>
        _calls.Lock(file, (image.ReadOnly ? Libc.LOCK_SH : Libc.LOCK_EX) | Libc.LOCK_NB);

    /// <summary>Opens the device again, claimed, in the place of its descriptor.</summary>
    private Func<ImageException>? TryClaim()
    {
        if (!MayClaim || IsClaimed)
            return null;
        int errno = options.Opener.TryOpen(image.Path, image.OpenFlags | Libc.O_EXCL, out FileDescriptor? claimed);
        if (errno == Errno.EBUSY)
            return () => ImageException.HeldByHost(image.Path, BlockDeviceUsers.Find(image.Descriptor));
        if (errno != 0)
            return () => ImageException.CannotOpen(image.Path, errno);
        using (claimed)
        {
            if (NumberOf(claimed!) != NumberOf(image.Descriptor))
                return () => ImageException.IsAnother(image.Path);
            if (HeldLock == ImageLock.Exclusive && !TryMoveLock(claimed!))
                return () => ImageException.HeldByOther(image.Path, image.ReadOnly);
            int error = Libc.Replace(image.Descriptor.Value, claimed!.Value);
            if (error < 0)
                return () => ImageException.CannotOpen(image.Path, -error);
        }
        IsClaimed = true;
        return null;
    }

    /// <summary>
    /// A lock belongs to one open file. Who gets it in between keeps it and gets the claim, which is given up here.
    /// </summary>
    private bool TryMoveLock(FileDescriptor claimed)
    {
        Unlock();
        if (TryLock(claimed) == 0)
            return true;
        HeldLock = ImageLock.NotYet;
        return false;
    }

    private (uint Major, uint Minor) NumberOf(FileDescriptor device) =>
        _calls.Inspect(device, out statx status) < 0 ? default : (status.stx_rdev_major, status.stx_rdev_minor);
}
