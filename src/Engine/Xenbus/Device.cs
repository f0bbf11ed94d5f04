using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Vbds;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// One device's xenbus state machine (docs/xenbus.md has it as a table). It is level-triggered: each step reads what
/// both areas say now and does the next thing that follows. So states may be skipped, events may be lost or doubled,
/// and the daemon may start at any time.
/// </summary>
/// <remarks>
/// This file has the state machine; Device.Commands.cs has what people command and see. What the device holds is in its
/// parts: <see cref="FrontendArea"/>, <see cref="DeviceDisk"/>, <see cref="DeviceOffer"/>, <see cref="DeviceRings"/>,
/// <see cref="DeviceLimits"/> and <see cref="DeviceHealth"/>.
/// </remarks>
internal sealed partial class Device : Step
{
    /// <summary>
    /// More moves than any path through the states has. A device that makes more is changed by a toolstack while we
    /// change it.
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
    private readonly Action<Device, IXenstore> _forget;

    /// <summary>Held by whatever acts on the device: its step, a command, the end of the daemon.</summary>
    private readonly Lock _gate = new();

    private AreaStates _states = new(XenbusState.Unknown, XenbusState.Unknown, Online: true);

    /// <summary>The connection by which the backend area was last seen.</summary>
    private StoreSession? _seenOn;
    private volatile bool _growthDue;
    private bool _isOrphan;

    /// <summary>The device is gone, or the daemon ends: no step does anything any more.</summary>
    private bool _hasEnded;

    /// <param name="forget">Called when the device is gone and holds nothing any more.</param>
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

    /// <summary>A guest uses it.</summary>
    public bool IsServed => _rings.AreServed;

    private bool HoldsAnything => _rings.AreServed || _disk.Current is not null;

    /// <summary>What both ends say now. A frontend without an area or a state is Unknown.</summary>
    private sealed record AreaStates(XenbusState Backend, XenbusState Frontend, bool Online)
    {
        /// <summary>
        /// The frontend may still use what it granted: it has published its rings and has not said that it closed them.
        /// </summary>
        public bool FrontendHolds =>
            Frontend is not (XenbusState.Unknown or XenbusState.Initialising or XenbusState.Closed);

        /// <summary>The frontend has published its rings.</summary>
        public bool FrontendOffersRings => Frontend is XenbusState.Initialised or XenbusState.Connected;
    }

    public override void Run()
    {
        lock (_gate)
        {
            if (_hasEnded || _context.Session is not { } session)
                return;
            if (_growthDue)
                FollowGrowth(session.Store);
            if (Guarded(() => Reconcile(session)))
                _health.ClearRefusal();
        }
    }

    /// <summary>The next step looks whether the image grew.</summary>
    public void NoteGrowthDue() => _growthDue = true;

    /// <summary>Logs what the data path noticed. Takes no lock of the device.</summary>
    /// <returns>True when the device has to look at itself.</returns>
    public bool LogFaults() => _rings.LogFaults();

    /// <summary>Asks the store itself, not what was last seen.</summary>
    public bool HasArea(IXenstore store) => store.Directory(_area.Path) is not null;

    /// <summary>
    /// Ends with the daemon: answers the requests taken off the rings and leaves the keys as they are, so that the next
    /// daemon takes the rings over.
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

    /// <summary>Runs an action on the store. What goes wrong with one device does not end the process.</summary>
    /// <returns>False when the store refused something: the device is tried again in the background.</returns>
    private bool Guarded(Action action)
    {
        try
        {
            action();
            return true;
        }
        catch (XenstoreException e)
        {
            // The store is busy, or has a quota, as a driver domain's does; or the connection is lost, and the next one
            // marks every device.
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
            catch (EngineException e) when (e is DeviceException or VbdConnectException or ImageException)
            {
                Fail(session.Store, e.Error);
            }
            catch (Exception e) when (e is not (XenstoreException or ObjectDisposedException or OutOfMemoryException))
            {
                // Anything else is a bug, but of one device.
                string message = $"unexpected {e.GetType().Name}: {e.Message}";
                Fail(session.Store, new EngineError(ErrorCode.Unexpected, message));
            }
        }
        _context.Steps.MarkLater(this, DeviceContext.RetryDelay);
    }

    /// <summary>Reads both areas' states, with the watches set before.</summary>
    /// <returns>False when the backend area is gone: the device is gone with it, or will be.</returns>
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
    /// <returns>True when something was done, so that the states have to be read again.</returns>
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
        // The area was removed and made again between two looks: what we hold belongs to the one before.
        if (HoldsAnything)
            return Release();
        _health.ClearFailure();
        return _states.Online ? Publish(store) : SwitchTo(store, XenbusState.Closed);
    }

    private bool AwaitFrontend(IXenstore store)
    {
        if (!_states.Online)
            return SwitchTo(store, XenbusState.Closing);
        // Somebody set the state back: the ring that we hold is not the one that the frontend will publish.
        if (_rings.AreServed)
            return Release();
        if (_states.Frontend is XenbusState.Closing or XenbusState.Closed)
            return SwitchTo(store, XenbusState.Closing);
        if (_states.FrontendOffersRings)
        {
            OpenDisk(store);
            return _disk.Current is { } disk && Connect(store, disk);
        }
        // A daemon before this one published it, or the script has said now which device it is.
        if (_disk.Current is null && !IsStuckInFailure(store))
            Publish(store);
        return false;
    }

    private bool Serve(IXenstore store)
    {
        if (!_states.Online || !_states.FrontendHolds || _states.Frontend == XenbusState.Closing)
            return SwitchTo(store, XenbusState.Closing);
        if (!_rings.AreServed)
        {
            if (!_states.FrontendOffersRings)
                return false;
            // A daemon before this one served it.
            OpenDisk(store);
            return _disk.Current is { } disk && Connect(store, disk);
        }
        if (_states.Frontend == XenbusState.Initialised && HasNewRings(store))
            return StopServing() && Connect(store, _disk.Current!);
        if (_rings.IsBroken)
            throw new DeviceException(
                ErrorCode.RingBroken,
                "the frontend broke its ring: its producer index is impossible"
            );
        if (_disk.HasNewMedium(store, _area.Path))
            ChangeMedium(store);
        return false;
    }

    private bool Close(IXenstore store)
    {
        // Disconnecting while the frontend still has requests to be answered hangs some guests.
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
    /// A device that failed stays so until the keys that name its disk change, or the frontend's state does.
    /// </summary>
    private bool IsStuckInFailure(IXenstore store) =>
        _health.HasFailed
        && _states.Frontend == XenbusState.Initialising
        && _health.HasFailedWith(DiskKeys.ReadSource(store, _area.Path));

    /// <summary>
    /// Opens the disk and writes what the frontend may ask for. No disk is opened when the script has yet to name it.
    /// </summary>
    private bool Publish(IXenstore store)
    {
        _frontend.Check(store);
        // No ring of an earlier handshake is taken over any more, whichever daemon served it.
        _context.Journals.Forget(Id);
        OpenDisk(store);
        _disk.LockEarly();
        // An error of the past must not be taken for one of now.
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
        DeviceOptions options = _context.Options.Device(Id);
        _limits.Configure(options.Limits);
        DiskKeys keys = DiskKeys.Read(store, _area.Path);
        // A running guest keeps its drive, whatever became of the medium while no daemon ran.
        _disk.Open(keys, options, mayBeEmpty: keys.IsDrive && _states.Backend == XenbusState.Connected);
        _offer.Prepare(options, keys, _disk.Current, _context.Hypervisor.LosesPinnedPages);
    }

    /// <summary>Reads what the frontend published, serves it, and says so.</summary>
    private bool Connect(IXenstore store, Disk disk)
    {
        _frontend.Check(store);
        bool wasConnected = _states.Backend == XenbusState.Connected;
        if (!_disk.LockToServe(wasConnected))
        {
            _context.Steps.MarkLater(this, DeviceContext.RetryDelay);
            return false;
        }
        _offer.LimitTo(store, _area.Path, wasConnected);
        // The ring of a frontend that is Connected may have been served before; the indices of a fresh one are 0.
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
        LogConnected(disk, connection);
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
    }

    private bool HasNewRings(IXenstore store) =>
        _rings.DifferFrom(_frontend.ReadConnection(store, _offer.Options, takeover: false));

    /// <summary>A drive shows the medium that its keys name now.</summary>
    private void ChangeMedium(IXenstore store)
    {
        DiskKeys keys = DiskKeys.Read(store, _area.Path);
        Disk next = _disk.OpenNextMedium(keys);
        VbdConnection connection = _rings.Connection! with { Takeover = true };
        if (!StopServing())
        {
            next.Dispose();
            return;
        }
        _disk.ChangeMedium(next, keys);
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
        _context.Log.Resized(Id, sectors);
    }

    /// <summary>
    /// Lets go of everything: waits for the requests under way, unmaps the rings, closes the disk.
    /// </summary>
    /// <returns>False when the disk still holds requests: it is tried again in the background.</returns>
    private bool Release()
    {
        if (!StopServing())
            return false;
        _disk.Close();
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

    /// <returns>True: whether it was written or somebody else was faster, the states have changed.</returns>
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
    /// libxl waits for InitWait and reacts to nothing else; it runs the script then, which can report the reason. So a
    /// device that cannot even begin goes to InitWait first, and to Closing when the frontend wants to connect or the
    /// toolstack gives up.
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
    /// The toolstack hears of a script only in dom0. In a driver domain it waits for InitWait alone.
    /// </summary>
    private bool ScriptReports(IXenstore store) =>
        _area.HasScript(store) && (store.Read(XenstoreKeys.DomId) ?? "0") == "0";

    /// <summary>The backend area is gone.</summary>
    private void Vanish(StoreSession session)
    {
        bool storeLostIt = _isOrphan || (session.CameBackEmpty && _seenOn != session);
        if (storeLostIt && _rings.AreServed)
        {
            // Nobody removed it: the guest runs and its requests are answered; taking its disk would help nobody.
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
