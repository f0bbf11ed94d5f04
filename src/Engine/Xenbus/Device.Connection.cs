using System.Collections.ObjectModel;
using System.Diagnostics;
using System.Globalization;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Vbds;

namespace Blkring.Engine.Xenbus;

/// <summary>What the device holds: its disk and the rings it serves.</summary>
internal sealed partial class Device
{
    private Disk? _disk;
    private DiskKeys _diskKeys = new();
    private DeviceOptions _options = new();

    /// <summary>What was asked for by name and is not to be had, see <see cref="GrantModes.Resolve"/>.</summary>
    private GrantMode? _refusedMode;
    private Vbd? _vbd;
    private VbdConnection? _connection;
    private bool _readOnly,
        _isPaused,
        _isStopping;
    private IReadOnlyDictionary<string, string> _features = ReadOnlyDictionary<string, string>.Empty;

    private bool HoldsAnything => _vbd is not null || _disk is not null;

    private string? JournalPath =>
        _context.Options.JournalFolder is { } folder ? Journals.PathOf(folder, _area.Path) : null;

    private bool IsBroken => _vbd!.Queues.Any(queue => queue.IsBroken);

    /// <summary>
    /// Opens the disk and tells the frontend what it may ask for. Without a disk when the script has yet to name it.
    /// </summary>
    private bool Publish()
    {
        CheckFrontend();
        // No ring of an earlier handshake is taken over any more, whoever served it.
        ForgetJournals();
        OpenDisk();
        LockEarly();
        // What was wrong before is not, and must not be taken for what is now.
        if (_store.Read($"{_area.Path}/hotplug-error") is not null)
            _area.ForgetError(_store);
        _fault = null;
        SwitchTo(XenbusState.InitWait, BackendKeys.BeforeInitWait(_options, HasScript));
        return true;
    }

    private bool HasScript => !string.IsNullOrEmpty(_store.Read($"{_area.Path}/script"));

    private void OpenDisk()
    {
        if (_disk is not null)
            return;
        _options = _context.Options.Device(Id);
        ApplyConfiguredLimits();
        _diskKeys = DiskKeys.Read(_store, _area.Path);
        if (_diskKeys.IsDrive)
            _options = _options with { NativeSectors = false };
        // A running guest keeps its drive, whatever became of the medium while no daemon was there.
        bool mayBeEmpty = _diskKeys.IsDrive && _states.Backend == XenbusState.Connected;
        if (!_diskKeys.IsPending)
            _disk = mayBeEmpty ? OpenMedium(_diskKeys, locked: false) : _context.Pool.Blocking(() => Open(_diskKeys));
        _readOnly = _disk is { ReadOnly: true };
        ResolveGrantMode();
    }

    private void ResolveGrantMode()
    {
        GrantMode? asked = _options.GrantMode;
        GrantMode resolved = GrantModes.Resolve(asked, MayPinPages, _context.Hypervisor.LosesPinnedPages);
        _refusedMode = !_diskKeys.MustCopy && asked != resolved ? asked : null;
        _options = _options with { GrantMode = _diskKeys.MustCopy ? GrantMode.Copy : resolved };
    }

    /// <summary>What will be in a drive, and what the script has yet to name, is not known.</summary>
    private bool MayPinPages => _diskKeys.IsDrive || _disk is not { PinsPages: false };

    /// <summary>Without a sector, every request ends beyond the end.</summary>
    private static NullDisk EmptyDrive() => new(0, readOnly: true);

    private Disk Open(DiskKeys keys)
    {
        if (keys.Problem is { } problem)
            throw new DeviceException(problem);
        if (keys.Path is null)
            return EmptyDrive();
        Disk disk = _context.Options.OpenImage(
            keys.Path,
            new FileDiskOptions
            {
                Writable = keys.Writable && _options.Writable,
                Cache = _options.Cache,
                Lock = false,
            }
        );
        // Not offered means not done: a guest may send what it was not offered.
        if (!keys.Discard || !_options.Discard)
            disk.RefuseDiscard();
        _knownLengthBytes = disk.CapacitySectors << Disk.SectorShift;
        return disk;
    }

    /// <summary>Reads what the frontend published, serves it, and says so.</summary>
    private bool Connect()
    {
        CheckFrontend();
        bool again = _states.Backend == XenbusState.Connected;
        // Where a frontend is Connected, its ring may have been served before; a fresh one says so itself by its
        // indices.
        bool resume = again || _states.Frontend == XenbusState.Connected;
        if (!LockToServe(again))
            return false;
        _options = AsOffered(_options, again);
        VbdConnection connection = new FrontendKeys(_store, _frontendPath!, _options).Read(Id.Frontend, resume);
        StartServing(connection);
        KeyValuePair<string, string?>[] keys = BackendKeys.BeforeConnected(
            _disk!,
            _diskKeys,
            _options,
            _readOnly,
            connection.Rings.Count
        );
        bool announce =
            again
            && (
                _states.Frontend == XenbusState.Initialised
                || _store.Read($"{_area.Path}/sectors") != BackendKeys.Text(_disk!.CapacitySectors)
            );
        SwitchTo(XenbusState.Connected, [.. keys]);
        if (announce)
            _area.AnnounceCapacity(_store, _disk!.CapacitySectors);
        NoteConnected(connection, keys);
        return true;
    }

    private static string RefusedModeWarning(GrantMode mode) =>
        $"the guest's pages are copied although Grants '{mode.ToString().ToLowerInvariant()}' was asked for: with an image that is opened with O_DIRECT, or a drive "
        + "that may get one, the kernel of a PV domain would lose count of them, and I/O fail until it boots again; use Cache 'writeback' for the image, or leave Grants at 'auto'";

    private void NoteConnected(VbdConnection connection, KeyValuePair<string, string?>[] keys)
    {
        _features = new ReadOnlyDictionary<string, string>(
            keys.Where(key => key.Value is not null).ToDictionary(key => key.Key, key => key.Value!)
        );
        _fault = null;
        _area.ForgetError(_store);
        if (!MayLog())
            return;
        _context.Log.Connected(
            Id,
            _disk!.Describe(),
            connection.Protocol ?? "no protocol key",
            connection.Rings.Count,
            connection.Rings[0].References.Count,
            connection.Resume
        );
        if (_refusedMode is { } mode)
            _context.Log.DeviceWarning(Id, RefusedModeWarning(mode));
    }

    /// <summary>
    /// The options as the frontend was told of them, perhaps by a daemon before this one with other options: what was
    /// offered has to be kept to, and what was not offered is not taken.
    /// </summary>
    private DeviceOptions AsOffered(DeviceOptions options, bool again) =>
        options with
        {
            MaxRingPageOrder = Offered("max-ring-page-order", 0, DeviceOptions.RingPageOrderLimit),
            MaxQueues = Offered("multi-queue-max-queues", 1, DeviceOptions.QueuesLimit),
            MaxIndirectSegments = Offered("feature-max-indirect-segments", 0, VbdQueueOptions.IndirectSegmentsLimit),
            // Frontends say feature-persistent whether or not they were offered it; they do it only if they were.
            GrantMode =
                options.GrantMode == GrantMode.Persistent && Offered("feature-persistent", 0, 1) == 0
                    ? GrantMode.Copy
                    : options.GrantMode,
            // Said only with Connected: before, the key is what another handshake left.
            NativeSectors = again
                ? Offered("sector-size", Disk.SectorBytes, int.MaxValue) > Disk.SectorBytes
                : options.NativeSectors,
        };

    private int Offered(string key, int absent, int limit) =>
        int.TryParse(_store.Read($"{_area.Path}/{key}"), NumberStyles.None, CultureInfo.InvariantCulture, out int value)
            ? Math.Min(value, limit)
            : absent;

    /// <summary>
    /// The frontend published rings anew without closing, as one does that was suspended and goes on.
    /// </summary>
    private bool HasNewRings()
    {
        VbdConnection now = new FrontendKeys(_store, _frontendPath!, _options).Read(Id.Frontend, resume: false);
        return now.Protocol != _connection!.Protocol
            || now.Rings.Count != _connection.Rings.Count
            || now.Rings.Zip(_connection.Rings)
                .Any(pair =>
                    pair.First.EventChannel != pair.Second.EventChannel
                    || !pair.First.References.SequenceEqual(pair.Second.References)
                );
    }

    private void StartServing(VbdConnection connection)
    {
        Vbd vbd = new(
            _disk!,
            _context.Reactors,
            new VbdOptions
            {
                ReadOnly = _readOnly,
                MaxInFlight = _options.MaxInFlight,
                MaxIndirectSegments = _options.MaxIndirectSegments,
                Throttle = _throttle,
                NativeSectors = _options.NativeSectors,
                GrantMode = _options.GrantMode!.Value,
                JournalPath = JournalPath,
            }
        );
        vbd.Connect(connection, _context.Hypervisor);
        (_vbd, _connection) = (vbd, connection);
    }

    /// <summary>
    /// Lets go of everything: requests under way are waited for, the rings are unmapped, the disk is closed.
    /// </summary>
    /// <returns>False when the disk still holds requests: it is tried again in the background.</returns>
    private bool Release()
    {
        if (!StopServing(_context.Options.DrainTimeout))
            return false;
        if (_disk is { } disk)
            CloseDisk(disk);
        (_disk, _readOnly, _waitsFor) = (null, false, null);
        _features = ReadOnlyDictionary<string, string>.Empty;
        return true;
    }

    /// <summary>
    /// Linux says Closed with requests on the ring, and waits for them afterwards, with the thread that serves all of
    /// its xenstore.
    /// </summary>
    private void ServeToTheEnd()
    {
        if (_isStopping || _vbd is not { } vbd)
            return;
        // What is not answered by then is a disk that hangs, which stopping tells, or a guest that goes on and on.
        TimeSpan patience =
            s_lastRequestsPatience < _context.Options.DrainTimeout
                ? s_lastRequestsPatience
                : _context.Options.DrainTimeout;
        _ = _context.Pool.Blocking(() => vbd.ServeToTheEnd(patience));
    }

    private static readonly TimeSpan s_lastRequestsPatience = TimeSpan.FromSeconds(5);

    private bool StopServing(TimeSpan timeout)
    {
        if (_vbd is not { } vbd)
            return true;
        if (!_context.Pool.Blocking(() => vbd.Stop(timeout)))
        {
            if (!_isStopping)
                _context.Log.DiskHangs(Id, _disk!.Describe());
            _isStopping = true;
            _context.Pool.MarkLater(this, s_retryDelay);
            return false;
        }
        LogFaults(vbd);
        // All is answered: a daemon to come would find nothing to do.
        if (JournalPath is { } journal)
            Vbd.DeleteJournals(journal, _connection!.Rings.Count);
        (_vbd, _connection, _isPaused, _isStopping) = (null, null, false, false);
        return true;
    }

    private void ForgetJournals()
    {
        if (_context.Options.JournalFolder is { } folder)
            Journals.Forget(folder, _area.Path);
    }

    private void CloseDisk(Disk disk) =>
        _context.Pool.Blocking(() =>
        {
            disk.Dispose();
            return true;
        });

    /// <summary>
    /// The daemon ends: what was taken is answered, and the keys stay, so that the next daemon takes the rings over.
    /// </summary>
    public bool Leave(TimeSpan timeout)
    {
        long start = Stopwatch.GetTimestamp();
        if (!_gate.TryEnter(timeout))
            return false;
        try
        {
            _left = true;
            TimeSpan left = timeout - Stopwatch.GetElapsedTime(start);
            if (_vbd is { } vbd && !vbd.Stop(left > TimeSpan.Zero ? left : TimeSpan.Zero))
                return false;
            _vbd = null;
            _disk?.Dispose();
            _disk = null;
            return true;
        }
        finally
        {
            _gate.Exit();
        }
    }
}
