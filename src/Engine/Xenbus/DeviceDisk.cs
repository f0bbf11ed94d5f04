using Blkring.Engine.Disks;
using Blkring.Engine.Errors;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// A device's disk: opening the image that the keys name, locking it, following its growth and changing the medium.
/// </summary>
internal sealed class DeviceDisk(DeviceContext context, DeviceId id, DeviceHealth health)
{
    /// <summary>
    /// A takeover waits for the lock this long per try, and is tried again for as long as it takes.
    /// </summary>
    private static readonly TimeSpan s_takeoverLockTimeout = TimeSpan.FromSeconds(1);

    private Disk? _disk;

    /// <summary>What the disk was opened with.</summary>
    private DeviceOptions _options = new();
    private long _knownLengthBytes;

    /// <summary>A medium was inserted; it may have the same name as the one before.</summary>
    private bool _mediumIsNew;

    /// <summary>Null while it is not open.</summary>
    public Disk? Current => _disk;

    public DiskKeys Keys { get; private set; } = new();

    /// <summary>Null for a disk that is not a file or block device.</summary>
    public string? Path => (_disk as FileDisk)?.Path;

    public bool IsBlockDevice => _disk is FileDisk { IsBlockDevice: true };

    /// <summary>Opens what the keys name. Nothing is opened when the script has yet to name it.</summary>
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
        health.ClearWaiting();
    }

    /// <summary>The daemon ends, and its steps with it: nothing else has to go on meanwhile.</summary>
    public void Leave()
    {
        _disk?.Dispose();
        _disk = null;
    }

    /// <summary>
    /// Tries the lock before there is a frontend. An image in use is no failure yet: a guest that is moved within a
    /// host has two domains for a while, and uses its image in the second one only when the first has let go.
    /// </summary>
    public void LockEarly()
    {
        try
        {
            Lock(_disk, Keys, TimeSpan.Zero);
        }
        catch (ImageException e) when (e.InUse)
        {
            health.NoteWaiting(e.Error);
        }
    }

    /// <summary>
    /// Insists on the lock before a ring is served. The kernel may still work for a daemon that was killed, and must be
    /// done before its requests are replayed: a takeover waits for that, as its guest does. A new frontend fails after
    /// the timeout.
    /// </summary>
    /// <returns>False when a takeover has to be tried again.</returns>
    public bool LockToServe(bool takeover)
    {
        try
        {
            Lock(_disk, Keys, takeover ? s_takeoverLockTimeout : context.Options.LockTimeout);
            health.ClearWaiting();
            return true;
        }
        catch (ImageException e) when (takeover && e.InUse)
        {
            health.NoteWaiting(e.Error);
            return false;
        }
    }

    /// <summary>The keys of a drive name another medium than the one that was opened.</summary>
    public bool HasNewMedium(IXenstore store, string area) =>
        Keys.IsDrive && (_mediumIsNew || Keys.Source != DiskKeys.ReadSource(store, area));

    /// <summary>Opens and locks the medium that a drive gets next; an empty drive where that fails.</summary>
    public Disk OpenNextMedium(DiskKeys keys) =>
        OpenOrEmpty(() =>
        {
            Disk disk = OpenUnlocked(keys);
            try
            {
                Lock(disk, keys, s_takeoverLockTimeout);
                return disk;
            }
            catch
            {
                disk.Dispose();
                throw;
            }
        });

    /// <summary>Closes the medium of a drive that is not served, and takes the next one.</summary>
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
        context.Options.OpenImage(path, ImageOptions(writable: false, _options.Lock)).Dispose();

    /// <summary>
    /// Measures the image. Only growth is followed: a shorter image, or one made smaller by command, is somebody's
    /// decision.
    /// </summary>
    /// <returns>The sectors of an image that grew; null for any other.</returns>
    public long? FindGrowth()
    {
        if (_disk is not FileDisk image)
            return null;
        try
        {
            long length = context.Steps.Blocking(image.MeasureBytes);
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

    /// <summary>The sectors of a length that a command asked for.</summary>
    /// <param name="bytes">Null: the image's own length now.</param>
    /// <exception cref="XenbusCommandException">There is no image, or none of that length.</exception>
    public long SectorsFor(long? bytes)
    {
        if (_disk is not FileDisk image)
            throw new XenbusCommandException(
                ErrorCode.DeviceWithoutImage,
                $"device {id} has no image that could change its length"
            );
        long length = context.Steps.Blocking(image.MeasureBytes),
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

    /// <summary>Without a sector, every request ends beyond the end of the disk.</summary>
    private static NullDisk EmptyDrive() => new(0, readOnly: true);

    /// <summary>
    /// A medium that cannot be opened leaves the drive empty: the guest goes on, and the next change of the keys is the
    /// next try.
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

    private Disk OpenUnlocked(DiskKeys keys) => context.Steps.Blocking(() => OpenHere(keys));

    private Disk OpenHere(DiskKeys keys)
    {
        if (keys.Problem is { } problem)
            throw new DeviceException(problem);
        if (keys.FindPath(context.Runtime.Files) is not { } path)
            return EmptyDrive();
        Disk disk = context.Options.OpenImage(path, ImageOptions(keys.Writable && _options.Writable, locked: false));
        // A guest may send what it was not offered: it must not be done.
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
            Lock = locked,
            Time = context.Runtime.Time,
            Sleep = context.Runtime.Sleep,
        };

    private void Lock(Disk? disk, DiskKeys keys, TimeSpan timeout)
    {
        if (!_options.Lock || keys.SharesWriters || disk is not FileDisk image)
            return;
        context.Steps.Blocking(() =>
        {
            image.Lock(timeout);
            return true;
        });
    }

    private void Close(Disk disk) =>
        context.Steps.Blocking(() =>
        {
            disk.Dispose();
            return true;
        });
}
