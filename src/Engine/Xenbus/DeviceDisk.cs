using Blkring.Engine.Disks;
using Blkring.Engine.Errors;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// A device's disk: opening the image that the keys name, locking it, following its growth and changing the medium.
/// </summary>
internal sealed class DeviceDisk(DeviceContext context, DeviceId id, DeviceHealth health)
{
    /// <summary>
    /// How long a takeover waits for the lock per try; the number of tries is not limited.
    /// </summary>
    private static readonly TimeSpan s_takeoverLockTimeout = TimeSpan.FromSeconds(1);

    private Disk? _disk;

    /// <summary>The options with which the disk was opened.</summary>
    private DeviceOptions _options = new();
    private long _knownLengthBytes;

    /// <summary>A medium was inserted; it may have the same name as the previous one.</summary>
    private bool _mediumIsNew;
    private bool _acceptsReplacement;

    /// <summary>Null while it is not open.</summary>
    public Disk? Current => _disk;

    public DiskKeys Keys { get; private set; } = new();

    /// <summary>Null for a disk that is not a file or block device.</summary>
    public string? Path => (_disk as FileDisk)?.Path;

    public bool IsBlockDevice => _disk is FileDisk { IsBlockDevice: true };

    /// <summary>Whether the image is locked at all: the configuration or the toolstack may share it.</summary>
    public bool IsLocked => _options.Lock && !Keys.SharesWriters;

    /// <summary>Opens the disk that the keys name, unless the script has not named it yet.</summary>
    /// <param name="mayBeEmpty">A drive whose medium cannot be opened is empty, instead of an error.</param>
    /// <exception cref="ImageException">It cannot be opened.</exception>
    /// <exception cref="DeviceException">The keys name nothing that can be served.</exception>
    public void Open(DiskKeys keys, DeviceOptions options, bool mayBeEmpty)
    {
        (Keys, _options) = (keys, options);
        if (keys.IsPending)
            return;
        _disk = mayBeEmpty ? OpenOrEmpty(() => OpenUnlocked(keys)) : OpenUnlocked(keys);
    }

    public void Close()
    {
        if (_disk is { } disk)
            Close(disk);
        _disk = null;
    }

    /// <summary>
    /// Whether another writer could lose data by this one: an image shared on purpose, of which parts of blocks are
    /// written by read-modify-write. Within a daemon these exclude each other, but a writer elsewhere knows nothing.
    /// </summary>
    /// <returns>Null; or a warning.</returns>
    public EngineError? FindSharedBlocks(bool nativeSectors) =>
        IsLocked || nativeSectors || _disk is not { ReadOnly: false, AlignmentBytes: > Disk.SectorBytes } disk
            ? null
            : new EngineError(
                ErrorCode.BlocksShared,
                $"{Path} is shared and has sectors of {disk.AlignmentBytes} bytes: a write of a part of one, and a "
                    + "write of the same sector by another host, may undo each other"
            )
            {
                Path = Path,
            };

    /// <summary>
    /// Brings the guest's answered writes to stable storage: whoever uses the image next, perhaps on another host, must
    /// find them.
    /// </summary>
    /// <returns>Null; or what kept them from it.</returns>
    public EngineError? Flush()
    {
        if (_disk is not { ReadOnly: false } disk)
            return null;
        TimeSpan timeout = context.Options.DrainTimeout;
        int errno = health.Blocking("flushing the image", () => disk.Flush(timeout));
        if (errno is not (0 or Interop.Errno.ETIMEDOUT))
            disk.Lost.Note(errno);
        if (errno == 0)
            errno = disk.Lost.Errno;
        return errno == 0
            ? null
            : new EngineError(
                ErrorCode.NotFlushed,
                $"not all answered writes of {Path ?? "the disk"} are known to be on stable storage: "
                    + Interop.Errno.Describe(errno)
            )
            {
                Path = Path,
                Errno = errno,
            };
    }

    /// <summary>For the stop of the daemon: no other steps run, so this may block.</summary>
    public void Leave()
    {
        _disk?.Dispose();
        _disk = null;
    }

    /// <summary>
    /// Tries the lock before there is a frontend. An image in use is not a failure yet: a guest that is migrated within
    /// a host has two domains for a while, and the second uses the image only after the first has released it.
    /// </summary>
    public void LockEarly()
    {
        try
        {
            Lock(_disk, Keys, image => image.Lock(TimeSpan.Zero));
        }
        catch (ImageException e) when (e.MayBeFreeLater)
        {
            health.NoteWaiting(e.Error);
        }
    }

    /// <summary>
    /// Requires the lock, and the claim of a block device, before a ring is served. The kernel may still work for a
    /// daemon that was killed, and must finish before its requests are replayed, so a takeover waits for the lock. A
    /// new frontend fails after the timeout.
    /// </summary>
    /// <exception cref="ImageException">It is not locked: a takeover must be tried again.</exception>
    public void LockToServe(bool takeover)
    {
        TimeSpan timeout = takeover ? s_takeoverLockTimeout : context.Options.LockTimeout;
        Lock(_disk, Keys, image => image.LockToServe(timeout));
    }

    /// <summary>Keeps which image is served, for the next daemon.</summary>
    /// <param name="checkBefore">
    /// The rings were served from an image before: a guest has data of it in memory, and requests under way for it.
    /// </param>
    /// <exception cref="DeviceException">This is another image, and nobody has accepted it.</exception>
    public void NoteImage(Disk disk, bool checkBefore)
    {
        ImageIdentity? now = health.Blocking("identifying the image", () => disk.Identity);
        // The medium of a drive may have been changed while no daemon ran.
        if (
            checkBefore
            && now is not null
            && !Keys.IsDrive
            && !_acceptsReplacement
            && context.Journals.FindImage(id) is { } before
            && !now.IsStill(before)
        )
            throw new DeviceException(
                new EngineError(
                    ErrorCode.ImageReplaced,
                    $"{Path} is not the image that the guest was served from: that was {before}, this is {now}"
                )
                {
                    Path = Path,
                }
            );
        context.Journals.KeepLostWrites(disk, now);
        context.Journals.NoteImage(id, now);
        _acceptsReplacement = false;
    }

    /// <summary>The operator decided that the next image is served, whichever it is.</summary>
    public void AcceptReplacement() => _acceptsReplacement = true;

    /// <summary>Whether the keys of a drive name a medium other than the open one.</summary>
    public bool HasNewMedium(IXenstore store, string area) =>
        Keys.IsDrive && (_mediumIsNew || Keys.Source != DiskKeys.ReadSource(store, area));

    /// <summary>Opens and locks the next medium of a drive; the drive becomes empty if that fails.</summary>
    public Disk OpenNextMedium(DiskKeys keys) =>
        OpenOrEmpty(() =>
        {
            Disk disk = OpenUnlocked(keys);
            try
            {
                Lock(disk, keys, image => image.LockToServe(s_takeoverLockTimeout));
                return disk;
            }
            catch
            {
                disk.Dispose();
                throw;
            }
        });

    /// <summary>Closes a medium of <see cref="OpenNextMedium"/> that is not served after all.</summary>
    public void Discard(Disk next) => Close(next);

    /// <summary>Changes the medium of a drive that is not being served.</summary>
    public void ChangeMedium(Disk next, DiskKeys keys)
    {
        Disk before = _disk!;
        (_disk, Keys, _mediumIsNew) = (next, keys, false);
        Close(before);
    }

    /// <param name="inserted">False: the medium was ejected.</param>
    public void NoteMediumCommand(bool inserted) => _mediumIsNew = inserted;

    /// <summary>Checks that an image can be opened and locked for this drive.</summary>
    /// <exception cref="ImageException">It cannot.</exception>
    public void TryImage(string path) =>
        health.Blocking(
            "trying the image",
            () =>
            {
                context.Options.OpenImage(path, ImageOptions(writable: false, _options.Lock)).Dispose();
                return true;
            }
        );

    /// <summary>
    /// Measures the image. Only growth is followed: if an image became shorter, or was made smaller by command, that
    /// was an administrator's decision.
    /// </summary>
    /// <returns>The new length in sectors; null if the image has not grown.</returns>
    public long? FindGrowth()
    {
        if (_disk is not FileDisk image)
            return null;
        try
        {
            long length = health.Blocking("measuring the image", image.MeasureBytes);
            if (length <= _knownLengthBytes)
                return null;
            _knownLengthBytes = length;
            return image.SectorsOf(length);
        }
        catch (ImageException e)
        {
            health.Warn(e.Error);
            return null;
        }
    }

    /// <summary>Converts a length that a command asked for to sectors.</summary>
    /// <param name="bytes">Null: the image's own length now.</param>
    /// <exception cref="XenbusCommandException">There is no image, or it is shorter.</exception>
    public long SectorsFor(long? bytes)
    {
        if (_disk is not FileDisk image)
            throw new XenbusCommandException(
                ErrorCode.DeviceWithoutImage,
                $"device {id} has no image that could change its length"
            );
        long length = health.Blocking("measuring the image", image.MeasureBytes),
            wanted = bytes ?? length;
        if (wanted > length)
            throw TooSmall(
                $"{image.Path} is {length} bytes long: lengthen it first, for example with 'truncate -s {wanted}'",
                length,
                wanted
            );
        if (image.SectorsOf(wanted) < 1)
            throw TooSmall(
                $"a disk of {wanted} bytes has no sector: at least {image.AlignmentBytes} bytes are needed",
                wanted,
                image.AlignmentBytes
            );
        _knownLengthBytes = length;
        return image.SectorsOf(wanted);

        XenbusCommandException TooSmall(string message, long found, long least) =>
            new(
                new EngineError(ErrorCode.ImageTooSmall, message)
                {
                    Path = image.Path,
                    LengthBytes = found,
                    MinBytes = least,
                }
            );
    }

    /// <summary>With no sectors, every request is beyond the end of the disk.</summary>
    public static NullDisk EmptyDrive() => new(0, readOnly: true);

    /// <summary>
    /// If a medium cannot be opened, the drive is empty and the guest continues; the next try is when the keys change.
    /// </summary>
    private Disk OpenOrEmpty(Func<Disk> open)
    {
        try
        {
            return open();
        }
        catch (EngineException e) when (e is ImageException or DeviceException)
        {
            health.Warn(e.Error with { Message = e.Message + "; the drive is empty" });
            return EmptyDrive();
        }
    }

    private Disk OpenUnlocked(DiskKeys keys) => health.Blocking("opening the image", () => OpenHere(keys));

    private Disk OpenHere(DiskKeys keys)
    {
        if (keys.Problem is { } problem)
            throw new DeviceException(problem);
        if (keys.FindPath(context.Runtime.Files) is not { } path)
            return EmptyDrive();
        Disk disk = context.Options.OpenImage(path, ImageOptions(keys.Writable && _options.Writable, locked: false));
        // A guest may send operations that it was not offered; they must be rejected.
        if (!keys.Discard || !_options.Discard)
            disk.RefuseDiscard();
        _knownLengthBytes = disk.CapacitySectors << Disk.SectorShift;
        return disk;
    }

    private FileDiskOptions ImageOptions(bool writable, bool locked) =>
        new()
        {
            Writable = writable,
            Cache = _options.Cache,
            Opener = context.Options.Opener,
            Lock = locked,
            Time = context.Runtime.Time,
            Sleep = context.Runtime.Sleep,
        };

    private void Lock(Disk? disk, DiskKeys keys, Action<FileDisk> take)
    {
        if (!_options.Lock || keys.SharesWriters || disk is not FileDisk image)
            return;
        health.Blocking(
            "locking the image",
            () =>
            {
                take(image);
                return true;
            }
        );
    }

    private void Close(Disk disk) =>
        health.Blocking(
            "closing the image",
            () =>
            {
                disk.Dispose();
                return true;
            }
        );
}
