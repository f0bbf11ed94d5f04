using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Vbds;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// One device's xenbus state machine (docs/xenbus.md has it as a table). It is level-triggered: each step reads what
/// both areas say now and does the next thing that follows. So states may be skipped, events may be lost or
/// duplicated, and the daemon may start at any time.
/// </summary>
/// <remarks>
/// This file has the state machine, Device.HostFaults.cs what waits for the host, Device.Commands.cs the commands and
/// the status. The device's state is in its
/// parts: <see cref="FrontendArea"/>, <see cref="DeviceDisk"/>, <see cref="DeviceOffer"/>, <see cref="DeviceRings"/>,
/// <see cref="DeviceLimits"/> and <see cref="DeviceHealth"/>.
/// </remarks>
internal sealed partial class Device : Step
{
    /// <summary>
    /// More moves than any path through the states has. If a step makes more, the toolstack is changing the device at
    /// the same time.
    /// </summary>
    private const int MaxMovesPerStep = 16;

    private readonly DeviceContext _context;
    private readonly BackendArea _area;
    private readonly FrontendArea _frontend;
    private readonly DeviceDisk _disk;
    private readonly DeviceOffer _offer = new();
    private readonly DeviceRings _rings;
    private readonly DeviceLimits _limits = new();
    private readonly DeviceHealth _health;

    /// <summary>As it was when the disk was opened; null before.</summary>
    private volatile DeviceIdentity? _identity;

    private readonly Action<Device, IXenstore> _forget;

    /// <summary>Held by everything that acts on the device: its step, a command, the stop of the daemon.</summary>
    private readonly Lock _gate = new();

    private AreaStates _states = new(XenbusState.Unknown, XenbusState.Unknown, Online: true);

    /// <summary>The connection on which the backend area was last seen.</summary>
    private StoreSession? _seenOn;
    private volatile bool _growthDue,
        _frontendWasHeard;

    /// <summary>A step found the gate held by a command, which marks the device when it ends.</summary>
    private volatile bool _isStepDue;
    private bool _isOrphan;

    /// <summary>The device is gone, or the daemon is stopping: steps no longer do anything.</summary>
    private bool _hasEnded;

    /// <param name="forget">Called when the device is gone and no longer holds anything.</param>
    public Device(DeviceId id, DeviceContext context, Action<Device, IXenstore> forget)
    {
        (Id, _context, _forget) = (id, context, forget);
        _area = new BackendArea($"{context.Root}/{id}");
        _frontend = new FrontendArea(id, _area.Path);
        _health = new DeviceHealth(context, id);
        _disk = new DeviceDisk(context, id, _health);
        _rings = new DeviceRings(context, id, _health);
    }

    public DeviceId Id { get; }

    /// <summary>A guest uses the device.</summary>
    public bool IsServed => _rings.AreServed;

    private bool HoldsAnything => _rings.AreServed || _disk.Current is not null;

    /// <summary>The states of both ends. A frontend without an area or a state is Unknown.</summary>
    private sealed record AreaStates(XenbusState Backend, XenbusState Frontend, bool Online)
    {
        /// <summary>
        /// The frontend may still use what it granted: it has published its rings and has not said that it closed them.
        /// </summary>
        public bool FrontendHolds =>
            Frontend is not (XenbusState.Unknown or XenbusState.Initialising or XenbusState.Closed);

        /// <summary>A running guest has the device, and neither side wants it closed.</summary>
        public bool GuestHolds =>
            Backend == XenbusState.Connected && Online && FrontendHolds && Frontend != XenbusState.Closing;

        /// <summary>The frontend has published its rings.</summary>
        public bool FrontendOffersRings => Frontend is XenbusState.Initialised or XenbusState.Connected;
    }

    /// <summary>
    /// Never waits for the gate: a command on an image that hangs would keep a thread from the steps of other devices.
    /// </summary>
    protected override void Act()
    {
        if (!_gate.TryEnter())
        {
            _isStepDue = true;
            // The gate may have been left before that was seen.
            if (!_gate.TryEnter())
                return;
        }
        try
        {
            _isStepDue = false;
            if (_hasEnded || _context.Session is not { } session)
                return;
            if (_growthDue)
                FollowGrowth(session.Store);
            if (Guarded(() => Reconcile(session)))
                _health.ClearRefusal();
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <summary>A bug, but it concerns one device only.</summary>
    protected override void NoteBug(Exception bug)
    {
        _health.Warn(ErrorOf(bug));
        _context.Steps.MarkLater(this, DeviceContext.RetryDelay);
    }

    /// <summary>Makes the next step check whether the image has grown.</summary>
    public void NoteGrowthDue() => _growthDue = true;

    /// <summary>
    /// The frontend wrote its state, perhaps the same again: makes the next step compare its rings with those served.
    /// </summary>
    public void NoteFrontendEvent() => _frontendWasHeard = true;

    /// <summary>Logs what the data path noticed. Takes no lock of the device.</summary>
    /// <returns>True if the device's step must run.</returns>
    public bool LogFaults() => _rings.LogFaults() | HasLossChanged;

    /// <summary>Has the age of the device's requests measured, for the status. Never waits.</summary>
    public void Look() => _rings.Look();

    /// <summary>Reads the store instead of the state that was last seen.</summary>
    public bool HasArea(IXenstore store) => store.Directory(_area.Path) is not null;

    /// <summary>
    /// For the stop of the daemon: answers the requests taken off the rings and leaves the keys as they are, so that
    /// the next daemon takes over the rings.
    /// </summary>
    /// <returns>False when the disk still held requests after <paramref name="timeout"/>.</returns>
    public bool Leave(TimeSpan timeout)
    {
        long start = _context.Runtime.Time.GetTimestamp();
        if (!_gate.TryEnter(timeout))
            return false;
        try
        {
            _hasEnded = true;
            TimeSpan left = timeout - _context.Runtime.Time.GetElapsedTime(start);
            if (!_rings.Leave(left > TimeSpan.Zero ? left : TimeSpan.Zero))
                return false;
            _disk.Leave();
            return true;
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <summary>Runs an action on the store. An error of one device does not end the process.</summary>
    /// <returns>False if the store refused something: the step is tried again in the background.</returns>
    private bool Guarded(Action action)
    {
        try
        {
            action();
            return true;
        }
        catch (XenstoreException e)
        {
            // The store is busy, or has a quota, as a driver domain's does; or the connection is lost, and the next
            // connection marks every device.
            _health.NoteRefusal(e.Error);
        }
        catch (ObjectDisposedException)
        {
            _health.NoteRefusal(new EngineError(ErrorCode.StoreDisconnected, "the connection to xenstore was closed"));
        }
        _context.Steps.MarkLater(this, DeviceContext.RetryDelay);
        return false;
    }

    private void Reconcile(StoreSession session)
    {
        for (int moves = 0; moves < MaxMovesPerStep; moves++)
        {
            if (!ReadStates(session))
                return;
            try
            {
                if (!Move(session.Store))
                    return;
            }
            catch (Exception e) when (e is not (XenstoreException or ObjectDisposedException or OutOfMemoryException))
            {
                EngineError error = ErrorOf(e);
                if (_states.GuestHolds && !DeviceFaults.IsOfFrontend(error, _states.Frontend))
                {
                    AwaitHost(error);
                    return;
                }
                Fail(session.Store, error);
            }
        }
        _context.Steps.MarkLater(this, DeviceContext.RetryDelay);
    }

    /// <summary>Anything that no code describes is a bug, but it concerns one device only.</summary>
    private static EngineError ErrorOf(Exception e) =>
        e is EngineException known and (DeviceException or VbdConnectException or ImageException)
            ? known.Error
            : new EngineError(ErrorCode.Unexpected, $"unexpected {e.GetType().Name}: {e.Message}");

    /// <summary>Reads the states of both areas, after setting the watches.</summary>
    /// <returns>False if the backend area is gone: so is the device, or it will be.</returns>
    private bool ReadStates(StoreSession session)
    {
        string? state = _area.Read(session.Store, XenstoreKeys.State);
        if (state is null && !HasArea(session.Store))
        {
            Vanish(session);
            return false;
        }
        (_isOrphan, _seenOn) = (false, session);
        bool online = _area.Read(session.Store, XenstoreKeys.Online) != "0";
        _states = new AreaStates(XenbusStates.Parse(state), _frontend.ReadState(session), online);
        return true;
    }

    /// <summary>Does the next thing that follows from the states.</summary>
    /// <returns>True if something was done, so that the states must be read again.</returns>
    private bool Move(IXenstore store) =>
        _states.Backend switch
        {
            XenbusState.Initialising => Begin(store),
            XenbusState.InitWait or XenbusState.Initialised => AwaitFrontend(store),
            XenbusState.Connected => Serve(store),
            XenbusState.Closing => Close(store),
            XenbusState.Closed => Rest(store),
            // The toolstack is still writing the area.
            _ => false,
        };

    private bool Begin(IXenstore store)
    {
        // The area was removed and created again between two steps: what we hold belongs to the old one.
        if (HoldsAnything)
            return Release();
        _health.ClearFailure();
        return _states.Online ? Publish(store) : SwitchTo(store, XenbusState.Closed);
    }

    private bool AwaitFrontend(IXenstore store)
    {
        if (!_states.Online)
            return SwitchTo(store, XenbusState.Closing);
        // The toolstack set the state back: the ring that we hold is not the one that the frontend will publish.
        if (_rings.AreServed)
            return Release();
        if (_states.Frontend is XenbusState.Closing or XenbusState.Closed)
            return SwitchTo(store, XenbusState.Closing);
        if (_states.FrontendOffersRings)
        {
            OpenDisk(store);
            return _disk.Current is { } disk && Connect(store, disk);
        }
        // An earlier daemon published it, or the script has just named the device.
        if (_disk.Current is null && !IsStuckInFailure(store))
            Publish(store);
        return false;
    }

    private bool Serve(IXenstore store)
    {
        if (!_states.GuestHolds)
            return SwitchTo(store, XenbusState.Closing);
        if (!_rings.AreServed)
        {
            if (!_states.FrontendOffersRings)
                return false;
            // An earlier daemon served it.
            OpenDisk(store);
            return _disk.Current is { } disk && Connect(store, disk);
        }
        if (_states.FrontendOffersRings && HasNewRings(store))
            return StopServing() && Connect(store, _disk.Current!);
        if (_rings.Crash is { } crash)
            return LeaveCrashedQueue(crash);
        if (_rings.IsBroken)
            throw new DeviceException(
                ErrorCode.RingBroken,
                "the frontend broke its ring: its producer index is impossible"
            );
        // Paused, the image must not be closed.
        if (_rings.LostErrno is var errno and not 0 && !_rings.IsPaused)
        {
            AwaitDisk(errno);
            return false;
        }
        if (_disk.HasNewMedium(store, _area.Path))
            ChangeMedium(store);
        NoteDiskBack();
        FollowLoss();
        return false;
    }

    private bool Close(IXenstore store)
    {
        WaitNoLonger(store);
        // Disconnecting while the frontend waits for responses hangs some guests.
        if (_rings.AreServed && _states.FrontendHolds)
            return false;
        if (_rings.AreServed && _states.Frontend == XenbusState.Closed)
            _rings.ServeToTheEnd();
        if (HoldsAnything)
            return Release();
        if (_states.Online && (_states.FrontendHolds || IsStuckInFailure(store)))
            return false;
        return SwitchTo(store, XenbusState.Closed);
    }

    private bool Rest(IXenstore store)
    {
        if (HoldsAnything)
            return Release();
        bool back = _states.Frontend is XenbusState.Initialising or XenbusState.InitWait or XenbusState.Initialised;
        return _states.Online && back && Publish(store);
    }

    /// <summary>
    /// A failed device stays failed until the keys that name its disk or the frontend's state change.
    /// </summary>
    private bool IsStuckInFailure(IXenstore store) =>
        _health.HasFailed
        && _states.Frontend == XenbusState.Initialising
        && _health.HasFailedWith(DiskKeys.ReadSource(store, _area.Path));

    /// <summary>
    /// Opens the disk and writes what the frontend may use. If the script has not named the disk yet, none is opened.
    /// </summary>
    private bool Publish(IXenstore store)
    {
        _frontend.Check(store);
        // From here on no ring of an earlier handshake can be taken over, whichever daemon served it.
        _context.Journals.Forget(Id);
        OpenDisk(store);
        _disk.LockEarly();
        // An old error must not look like a current one.
        if (_area.Read(store, XenstoreKeys.HotplugError) is not null)
            _area.ForgetError(store);
        _health.ClearFailure();
        SwitchTo(store, XenbusState.InitWait, BackendKeys.BeforeInitWait(_offer.Options, _area.HasScript(store)));
        return true;
    }

    private void OpenDisk(IXenstore store)
    {
        if (_disk.Current is not null)
            return;
        DiskKeys keys = DiskKeys.Read(store, _area.Path);
        _identity = DeviceIdentity.Read(store, Id, keys.Path);
        DeviceOptions options = _context.Options.Device(_identity);
        if (_context.Limits.Find(_identity) is { } commanded)
            _limits.Command(_ => commanded);
        else
            _limits.Configure(options.Limits);
        // A running guest keeps its drive, whatever happened to the medium while no daemon ran.
        _disk.Open(keys, options, mayBeEmpty: keys.IsDrive && _states.Backend == XenbusState.Connected);
        _offer.Prepare(options, keys, _disk.Current, _context.Hypervisor.LosesPinnedPages);
    }

    /// <summary>Reads what the frontend published, serves it, and goes to Connected.</summary>
    private bool Connect(IXenstore store, Disk disk)
    {
        _frontend.Check(store);
        bool wasConnected = _states.Backend == XenbusState.Connected;
        _disk.LockToServe(wasConnected);
        _disk.NoteImage(disk, checkBefore: wasConnected);
        _offer.LimitTo(store, _area.Path, wasConnected);
        // The ring of a Connected frontend may have been served before; the indices of a new ring are 0.
        bool takeover = wasConnected || _states.Frontend == XenbusState.Connected;
        VbdConnection connection = _frontend.ReadConnection(store, _offer.Options, takeover);
        _rings.Start(disk, _offer.Options, _limits.Throttle, connection);
        KeyValuePair<string, string?>[] keys = BackendKeys.BeforeConnected(
            disk,
            _disk.Keys,
            _offer.Options,
            connection.Rings.Count
        );
        bool announce =
            wasConnected
            && (
                _states.Frontend == XenbusState.Initialised
                || _area.Read(store, XenstoreKeys.Sectors) != BackendKeys.Text(disk.CapacitySectors)
            );
        SwitchTo(store, XenbusState.Connected, keys);
        if (announce)
            _area.AnnounceCapacity(store, disk.CapacitySectors);
        _offer.NoteFeatures(keys);
        _health.ClearFailure();
        _area.ForgetError(store);
        // After a loss, only time shows whether the disk takes requests again.
        if (_lostAt is null)
        {
            EndWaiting();
            LogConnected(disk, connection);
        }
        FollowLoss();
        return true;
    }

    private void LogConnected(Disk disk, VbdConnection connection)
    {
        if (!_health.MayLog())
            return;
        _context.Log.Connected(
            Id,
            disk.Describe(),
            connection.Protocol ?? "none",
            connection.Rings.Count,
            connection.Rings[0].References.Count,
            connection.Takeover
        );
        if (_offer.FindIgnoredMode() is { } error)
            _context.Log.DeviceWarning(Id, error.Code, _context.Explain(error));
        if (_disk.FindSharedBlocks(_offer.Options.NativeSectors) is { } shared)
            _context.Log.DeviceWarning(Id, shared.Code, _context.Explain(shared));
    }

    /// <summary>
    /// Whether the frontend published other rings than those served. A guest that resumed in place may be Connected
    /// again before anybody has seen it Initialised. Reading the keys costs several calls of the store, so they are
    /// read after an event of the frontend's state only.
    /// </summary>
    private bool HasNewRings(IXenstore store)
    {
        if (!_frontendWasHeard)
            return false;
        // Before the keys are read: an event that comes meanwhile counts.
        _frontendWasHeard = false;
        bool settled = false;
        try
        {
            settled = !_rings.DifferFrom(_frontend.ReadConnection(store, _offer.Options, takeover: false));
            return !settled;
        }
        catch (DeviceException) when (_states.Frontend == XenbusState.Connected)
        {
            // A frontend that is served needs no keys, and may have removed them.
            settled = true;
            return false;
        }
        finally
        {
            // Until they are served, which may take several steps, the next step looks again.
            if (!settled)
                _frontendWasHeard = true;
        }
    }

    /// <summary>Changes the medium of a drive to the one that its keys name now.</summary>
    private void ChangeMedium(IXenstore store)
    {
        DiskKeys keys = DiskKeys.Read(store, _area.Path);
        Disk next = _disk.OpenNextMedium(keys);
        VbdConnection connection = _rings.Connection! with { Takeover = true };
        if (!StopServing())
        {
            _disk.Discard(next);
            return;
        }
        if (_disk.Flush() is { } error)
            _health.Warn(error);
        _disk.ChangeMedium(next, keys);
        _disk.NoteImage(next, checkBefore: false);
        _rings.Start(next, _offer.Options, _limits.Throttle, connection);
        _area.AnnounceCapacity(store, next.CapacitySectors);
        _context.Log.MediumChanged(Id, next.Describe());
    }

    private void FollowGrowth(IXenstore store)
    {
        _growthDue = false;
        if (_disk.FindGrowth() is { } sectors)
            Guarded(() => ResizeTo(store, sectors));
    }

    private void ResizeTo(IXenstore store, long sectors)
    {
        Disk disk = _disk.Current!;
        if (sectors == disk.CapacitySectors)
            return;
        _rings.Resize(disk, sectors, length => _area.AnnounceCapacity(store, length));
        _disk.NoteImage(disk, checkBefore: false);
        _context.Log.Resized(Id, sectors);
    }

    /// <summary>
    /// Releases everything: waits for the requests in flight, unmaps the rings, closes the disk.
    /// </summary>
    /// <returns>False if the disk still holds requests: the release is tried again in the background.</returns>
    private bool Release()
    {
        bool wasServed = _rings.AreServed;
        if (!StopServing())
            return false;
        if (wasServed && _disk.Flush() is { } error)
            _health.Warn(error);
        _disk.Close();
        _health.ClearWaiting();
        _health.ClearLoss();
        _offer.ForgetFeatures();
        return true;
    }

    private bool StopServing()
    {
        if (_rings.Stop(_disk.Current))
            return true;
        _context.Steps.MarkLater(this, DeviceContext.RetryDelay);
        return false;
    }

    /// <returns>True: the states have changed, either by this write or because another writer was faster.</returns>
    private bool SwitchTo(IXenstore store, XenbusState next, params ReadOnlySpan<KeyValuePair<string, string?>> keys)
    {
        if (!_area.Switch(store, _states.Backend, next, keys))
            return true;
        if (_health.MayLog())
            _context.Log.StateChanged(Id, _states.Backend, next, _states.Frontend);
        _states = _states with { Backend = next };
        return true;
    }

    /// <summary>
    /// Goes to Closing, with the reason in xenstore and one line in the log; the next step waits for the frontend.
    /// </summary>
    /// <remarks>
    /// libxl waits for InitWait only, and then runs the script, which can report the reason. So a device whose disk
    /// cannot be opened goes to InitWait first, and to Closing when the frontend wants to connect or the toolstack
    /// gives up.
    /// </remarks>
    private void Fail(IXenstore store, EngineError error)
    {
        string line = _health.NoteFailure(error, DiskKeys.ReadSource(store, _area.Path));
        bool begins = _states is { Backend: XenbusState.Initialising, Frontend: XenbusState.Initialising };
        XenbusState next = begins && ScriptReports(store) ? XenbusState.InitWait : XenbusState.Closing;
        if (_states.Backend == XenbusState.Closing || !_area.Fail(store, _states.Backend, next, line))
            return;
        _states = _states with { Backend = next };
    }

    /// <summary>
    /// The toolstack learns of a script's result only in dom0. For a driver domain it waits for InitWait only.
    /// </summary>
    private bool ScriptReports(IXenstore store) =>
        _area.HasScript(store) && (store.Read(XenstoreKeys.DomId) ?? "0") == "0";

    /// <summary>The backend area is gone.</summary>
    private void Vanish(StoreSession session)
    {
        bool storeLostIt = _isOrphan || (session.CameBackEmpty && _seenOn != session);
        if (storeLostIt && _rings.AreServed)
        {
            // The toolstack did not remove it, and the guest still runs: it keeps its disk.
            if (!_isOrphan)
                _context.Log.Orphaned(Id);
            _isOrphan = true;
            return;
        }
        if (HoldsAnything && !Release())
            return;
        _frontend.Unwatch(session);
        _area.ForgetError(session.Store);
        _context.Journals.Forget(Id);
        _hasEnded = true;
        _forget(this, session.Store);
    }
}
