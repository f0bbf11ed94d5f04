using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// What all open disks of one image share in this process, whatever paths led to it: guests that share an image would
/// otherwise merge the same block at the same time, each without the other's sectors. It lives as long as one of them.
/// </summary>
internal sealed class SharedImage
{
    /// <param name="IsBlockDevice">The numbers of the device, and not of an inode's file system.</param>
    private readonly record struct Key(bool IsBlockDevice, uint Major, uint Minor, ulong Inode);

    private static readonly Lock s_lock = new();
    private static readonly Dictionary<Key, SharedImage> s_images = [];

    private readonly Key _key;
    private BlockRanges? _ranges;
    private int _users;

    private SharedImage(Key key) => _key = key;

    public LostWrites Lost { get; } = new();

    /// <summary>Of all disks that merge blocks; those that need none take no memory for it.</summary>
    public BlockRanges Ranges
    {
        get
        {
            lock (s_lock)
                return _ranges ??= new BlockRanges();
        }
    }

    /// <summary>To be released.</summary>
    /// <returns>One that nobody else shares, if the descriptor does not say which image it is.</returns>
    public static SharedImage Take(FileDescriptor file, bool isBlockDevice)
    {
        if (Libc.Fstatx(file.Value, Libc.STATX_BASIC_STATS | Libc.STATX_INO, out statx status) < 0)
            return new SharedImage(default) { _users = 1 };
        Key key = isBlockDevice
            ? new Key(true, status.stx_rdev_major, status.stx_rdev_minor, 0)
            : new Key(false, status.stx_dev_major, status.stx_dev_minor, status.stx_ino);
        lock (s_lock)
        {
            if (!s_images.TryGetValue(key, out SharedImage? image))
                s_images.Add(key, image = new SharedImage(key));
            image._users++;
            return image;
        }
    }

    public void Release()
    {
        lock (s_lock)
        {
            if (--_users > 0)
                return;
            if (s_images.TryGetValue(_key, out SharedImage? image) && image == this)
                s_images.Remove(_key);
            // Under the lock: the next user of the image may keep its own in the same file.
            Lost.Dispose();
        }
    }
}
