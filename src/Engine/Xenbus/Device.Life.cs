using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Queues;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Vbds;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// What happens to a device that is being served: growth, another medium, commands, faults of the data path.
/// </summary>
internal sealed partial class Device
{
    private long _knownLengthBytes;

    /// <summary>A medium was put in that may have the name of the one before.</summary>
    private bool _mediumIsNew;

    /// <summary>The next step looks whether the image grew.</summary>
    public void NoteGrowthDue() => _growthDue = _disk is FileDisk;

    /// <summary>
    /// Hands on what the data path noticed. Takes no lock: it goes on while a step waits for the disk.
    /// </summary>
    /// <returns>True when the device has to look at itself.</returns>
    public bool LogFaults() => _vbd is { } vbd && LogFaults(vbd);

    private readonly Lock _faultReader = new();

    private bool LogFaults(Vbd vbd)
    {
        bool broken = false;
        lock (_faultReader)
        {
            foreach (VbdQueue queue in vbd.Queues)
            {
                while (queue.Faults.TryRead(out Telemetry.Fault fault))
                {
                    broken |= fault.Kind == FaultKind.BrokenRing;
                    if (MayLog())
                        _context.Log.RequestFailed(Id, fault.Kind, fault.Operation, fault.Sector, fault.Code);
                }
            }
        }
        return broken;
    }

    /// <summary>
    /// Only growth is followed: a shorter image, or one made smaller by command, is somebody's decision.
    /// </summary>
    private void LookForGrowth()
    {
        _growthDue = false;
        if (_disk is not FileDisk disk)
            return;
        try
        {
            long length = _context.Pool.Blocking(disk.MeasureBytes);
            if (length <= _knownLengthBytes)
                return;
            _knownLengthBytes = length;
            if (_context.Store is { } connection)
                Guarded(() => ResizeTo(connection.Store, disk.SectorsOf(length)));
        }
        catch (ImageException e)
        {
            if (MayLog())
                _context.Log.DeviceWarning(Id, e.Message);
        }
    }

    private void ResizeTo(IXenstore store, long sectors)
    {
        if (sectors == _disk!.CapacitySectors)
            return;
        Action<long> announce = length => _area.AnnounceCapacity(store, length);
        if (_vbd is { } vbd)
            vbd.Resize(sectors, announce);
        else
        {
            _disk.Resize(sectors);
            announce(sectors);
        }
        _context.Log.Resized(Id, sectors);
    }

    /// <summary>A drive that may be changed shows the medium that params names now.</summary>
    private void ChangeMediumIfAsked()
    {
        if (!_diskKeys.IsDrive)
            return;
        if (!_mediumIsNew && _diskKeys.Source == DiskKeys.ReadSource(_store, _area.Path))
            return;
        DiskKeys keys = DiskKeys.Read(_store, _area.Path);
        Disk next = OpenMedium(keys, locked: true);
        Disk? before = _disk;
        VbdConnection connection = _connection! with { Resume = true };
        if (!StopServing(_context.Options.DrainTimeout))
        {
            next.Dispose();
            return;
        }
        (_disk, _diskKeys, _readOnly, _mediumIsNew) = (next, keys, next.ReadOnly, false);
        CloseDisk(before!);
        StartServing(connection);
        _area.AnnounceCapacity(_store, next.CapacitySectors);
        _context.Log.MediumChanged(Id, next.Describe());
    }

    /// <summary>
    /// A medium that cannot be opened leaves the drive empty: the guest goes on, and the next try is the next change.
    /// </summary>
    private Disk OpenMedium(DiskKeys keys, bool locked)
    {
        try
        {
            return locked ? OpenLocked(keys) : _context.Pool.Blocking(() => Open(keys));
        }
        catch (Exception e) when (e is ImageException or DeviceException)
        {
            if (MayLog())
                _context.Log.DeviceWarning(Id, e.Message + "; the drive is empty");
            return EmptyDrive();
        }
    }

    private Disk OpenLocked(DiskKeys keys)
    {
        Disk disk = _context.Pool.Blocking(() => Open(keys));
        try
        {
            LockImage(disk, keys, s_takeoverPatience);
            return disk;
        }
        catch
        {
            disk.Dispose();
            throw;
        }
    }

    /// <param name="bytes">Null: the image's own length now.</param>
    public void Resize(long? bytes) =>
        Command(store =>
        {
            if (_disk is not FileDisk disk)
                throw new XenbusCommandException(
                    ErrorCode.DeviceWithoutImage,
                    $"device {Id} has no image that could have another length"
                );
            long length = _context.Pool.Blocking(disk.MeasureBytes);
            long wanted = bytes ?? length;
            if (wanted > length)
                throw new XenbusCommandException(
                    ErrorCode.ImageTooSmall,
                    $"{disk.Path} is {length} bytes long: lengthen it first, for example with 'truncate -s {wanted}'"
                );
            if (disk.SectorsOf(wanted) < 1)
                throw new XenbusCommandException(
                    ErrorCode.ImageTooSmall,
                    $"a disk of {wanted} bytes has no sector: at least {disk.AlignmentBytes} are needed"
                );
            _knownLengthBytes = length;
            ResizeTo(store, disk.SectorsOf(wanted));
        });

    public void Pause() =>
        Command(_ =>
        {
            if (_vbd is not { } vbd)
                throw new XenbusCommandException(ErrorCode.DeviceNotConnected, $"device {Id} is not connected");
            if (!_context.Pool.Blocking(() => vbd.Pause(_context.Options.DrainTimeout)))
            {
                vbd.Resume();
                throw new XenbusCommandException(
                    ErrorCode.RequestsUnderWay,
                    $"device {Id} still has requests under way after {_context.Options.DrainTimeout.TotalSeconds:0.#} s: it goes on"
                );
            }
            _isPaused = true;
        });

    public void Resume() =>
        Command(_ =>
        {
            if (_vbd is not { } vbd)
                throw new XenbusCommandException(ErrorCode.DeviceNotConnected, $"device {Id} is not connected");
            if (!_isPaused)
                return;
            vbd.Resume();
            _isPaused = false;
        });

    public void Eject() => ChangeMedium(null);

    public void Insert(string path)
    {
        if (path is not ['/', ..])
            throw new XenbusCommandException(
                ErrorCode.ImagePathRelative,
                $"name the image by its whole path, from / on, not {LogText.Quote(path)}"
            );
        ChangeMedium(path);
    }

    /// <summary>
    /// The store keeps what is in the drive, so that a restart of the daemon does not change it: the command is a write
    /// of params.
    /// </summary>
    private void ChangeMedium(string? path) =>
        Command(store =>
        {
            if (!_diskKeys.IsDrive)
                throw new XenbusCommandException(
                    ErrorCode.MediumFixed,
                    $"device {Id} is no CD-ROM and not removable: its medium cannot be changed"
                );
            if (path is not null)
                _context
                    .Options.OpenImage(path, new FileDiskOptions { Cache = _options.Cache, Lock = _options.Lock })
                    .Dispose();
            store.Write($"{_area.Path}/params", path is null ? "" : "aio:" + path);
            // The same name may be another image by now.
            _mediumIsNew = path is not null;
            if (_context.Store is { } connection)
                Reconcile(connection);
        });

    private void Command(Action<IXenstore> action)
    {
        if (!_gate.TryEnter(s_commandPatience))
            throw new XenbusCommandException(ErrorCode.DeviceBusy, $"device {Id} is busy: its disk does not answer");
        try
        {
            if (_left)
                throw new XenbusCommandException(ErrorCode.DeviceGone, $"device {Id} is gone");
            if (_context.Store is not { } connection)
                throw new XenbusCommandException(
                    ErrorCode.StoreDisconnected,
                    "xenstore is away: try again when it is back"
                );
            _store = connection.Store;
            action(connection.Store);
        }
        catch (EngineException e) when (e is XenstoreException)
        {
            throw new XenbusCommandException(e.Error);
        }
        catch (ImageException e)
        {
            throw new XenbusCommandException(ErrorCode.ImageNotOpened, e.Message);
        }
        catch (ObjectDisposedException)
        {
            throw new XenbusCommandException(
                ErrorCode.StoreDisconnected,
                "xenstore is away: try again when it is back"
            );
        }
        finally
        {
            _gate.Exit();
        }
    }
}
