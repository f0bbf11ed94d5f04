using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Vbds;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// One device's xenbus state machine (docs/xenbus.md has it as a table). It is level-triggered: every step reads what
/// both areas say now and does the next thing that follows, so that states may be skipped, events lost and doubled, and
/// the daemon started at any time.
/// </summary>
internal sealed partial class Device : Step
{
    /// <summary>
    /// A longer way than any that states can take; what goes further is a toolstack and us in each other's way.
    /// </summary>
    private const int MaxMovesAtOnce = 16;
    private static readonly TimeSpan s_retryDelay = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_commandPatience = TimeSpan.FromSeconds(15);

    private readonly DeviceContext _context;
    private readonly BackendArea _area;
    private readonly Action<Device, IXenstore> _forget;
    private readonly LogLimiter _limiter = new();

    /// <summary>Held by whoever acts on the device: its step, a command, the end of the daemon.</summary>
    private readonly Lock _gate = new();

    private IXenstore _store = null!;
    private AreaStates _states = new(XenbusState.Unknown, XenbusState.Unknown, Online: true);
    private volatile bool _growthDue;
    private bool _left;

    /// <param name="forget">Called when the device is gone and holds nothing any more.</param>
    public Device(DeviceId id, DeviceContext context, Action<Device, IXenstore> forget)
    {
        (Id, _context, _forget) = (id, context, forget);
        _area = new BackendArea($"{context.Root}/{id}");
    }

    public DeviceId Id { get; }

    /// <summary>What both ends say now. A frontend without an area or a state is Unknown.</summary>
    private sealed record AreaStates(XenbusState Backend, XenbusState Frontend, bool Online)
    {
        /// <summary>
        /// The frontend may still use what it granted: it has published its rings and has not said that it closed them.
        /// </summary>
        public bool FrontendHolds =>
            Frontend is not (XenbusState.Unknown or XenbusState.Initialising or XenbusState.Closed);
    }

    public override void Run()
    {
        lock (_gate)
        {
            if (_left || _context.Store is not { } connection)
                return;
            if (_growthDue)
                LookForGrowth();
            if (Guarded(() => Reconcile(connection)))
                (_refusedBy, _refusal) = (null, null);
        }
    }

    /// <summary>
    /// The connection on which the store last refused something, and what it said when it did so again; null when it
    /// does not.
    /// </summary>
    private StoreConnection? _refusedBy;
    private string? _refusal;

    /// <summary>Runs what talks to the store, and keeps the process out of what goes wrong with one device.</summary>
    /// <returns>False when the store refused something: it is tried again in the background.</returns>
    private bool Guarded(Action action)
    {
        try
        {
            action();
            return true;
        }
        catch (Exception e) when (e is XenstoreException or ObjectDisposedException)
        {
            // With the connection lost, the next one marks every device; else the store was busy, or has a quota (a
            // driver domain's has one).
            _context.Log.StoreFailed(Id, e.Message);
            NoteRefusal(e.Message);
            _context.Pool.MarkLater(this, s_retryDelay);
            return false;
        }
    }

    /// <summary>A store that refuses the same device twice in a row is no passing trouble: people are told.</summary>
    private void NoteRefusal(string reason)
    {
        StoreConnection? connection = _context.Store;
        bool persists = connection is not null && connection == _refusedBy;
        _refusedBy = connection;
        if (!persists)
            return;
        if (_refusal is null && MayLog())
            _context.Log.DeviceWarning(Id, reason + "; it is tried again every second");
        _refusal = reason;
    }

    private void Reconcile(StoreConnection connection)
    {
        _store = connection.Store;
        for (int moves = 0; moves < MaxMovesAtOnce; moves++)
        {
            if (!ReadStates(connection))
                return;
            try
            {
                if (!Move())
                    return;
            }
            catch (Exception e) when (e is not (XenstoreException or ObjectDisposedException or OutOfMemoryException))
            {
                // Anything else than the three that are meant for it is a bug, but of one device.
                bool expected = e is DeviceException or VbdConnectException or ImageException;
                Fail(expected ? e.Message : $"unexpected {e.GetType().Name}: {e.Message}");
            }
        }
        _context.Pool.MarkLater(this, s_retryDelay);
    }

    /// <summary>Reads both areas' states, with the watches set before.</summary>
    /// <returns>False when the backend area is gone: then the device is, or will be, too.</returns>
    private bool ReadStates(StoreConnection connection)
    {
        string? state = _store.Read($"{_area.Path}/state");
        if (state is null && _store.Directory(_area.Path) is null)
        {
            Vanish(connection);
            return false;
        }
        _isOrphan = false;
        _seenOn = connection;
        bool online = _store.Read($"{_area.Path}/online") != "0";
        FindFrontend(connection);
        XenbusState frontend = _frontendPath is null
            ? XenbusState.Unknown
            : XenbusStates.Parse(_store.Read($"{_frontendPath}/state"));
        _states = new AreaStates(XenbusStates.Parse(state), frontend, online);
        return true;
    }

    /// <summary>Does the next thing that follows from the states.</summary>
    /// <returns>True when something was done, so that the states are to be looked at again.</returns>
    private bool Move() =>
        _states.Backend switch
        {
            XenbusState.Initialising => Begin(),
            XenbusState.InitWait or XenbusState.Initialised => AwaitFrontend(),
            XenbusState.Connected => Serve(),
            XenbusState.Closing => Close(),
            XenbusState.Closed => Rest(),
            // The toolstack is still writing the area.
            _ => false,
        };

    private bool Begin()
    {
        // Removed and made again between two looks: what we hold belongs to the one before.
        if (HoldsAnything)
            return Release();
        _fault = null;
        return _states.Online ? Publish() : SwitchTo(XenbusState.Closed);
    }

    private bool AwaitFrontend()
    {
        if (!_states.Online)
            return SwitchTo(XenbusState.Closing);
        // Somebody took the state back: the ring that we hold is not the one that the frontend will show.
        if (_vbd is not null)
            return Release();
        switch (_states.Frontend)
        {
            case XenbusState.Closing or XenbusState.Closed:
                return SwitchTo(XenbusState.Closing);
            case XenbusState.Initialised or XenbusState.Connected:
                OpenDisk();
                return _disk is not null && Connect();
            default:
                // Published by a daemon before this one, or the script has said now which device it is.
                if (_disk is null && !IsStuckInFault)
                    Publish();
                return false;
        }
    }

    private bool Serve()
    {
        if (!_states.Online || !_states.FrontendHolds || _states.Frontend == XenbusState.Closing)
            return SwitchTo(XenbusState.Closing);
        if (_vbd is null)
        {
            if (_states.Frontend is not (XenbusState.Initialised or XenbusState.Connected))
                return false;
            // A daemon before this one served it.
            OpenDisk();
            return _disk is not null && Connect();
        }
        if (_states.Frontend == XenbusState.Initialised && HasNewRings())
            return StopServing(_context.Options.DrainTimeout) && Connect();
        if (IsBroken)
            throw new DeviceException(
                ErrorCode.RingBroken,
                "the frontend broke its ring: a request index that cannot be true"
            );
        ChangeMediumIfAsked();
        return false;
    }

    private bool Close()
    {
        // Disconnecting while the frontend still has requests to be answered hangs some guests.
        if (_vbd is not null && _states.FrontendHolds)
            return false;
        if (_vbd is not null && _states.Frontend == XenbusState.Closed)
            ServeToTheEnd();
        if (HoldsAnything)
            return Release();
        if (_states.Online && (_states.FrontendHolds || IsStuckInFault))
            return false;
        return SwitchTo(XenbusState.Closed);
    }

    private bool Rest()
    {
        if (HoldsAnything)
            return Release();
        bool back = _states.Frontend is XenbusState.Initialising or XenbusState.InitWait or XenbusState.Initialised;
        return _states.Online && back && Publish();
    }

    /// <summary>
    /// Nothing but a change of the keys that caused it, or of the frontend, gets a device out of a fault.
    /// </summary>
    private bool IsStuckInFault =>
        _fault is not null
        && _states.Frontend == XenbusState.Initialising
        && _fault.Source == DiskKeys.ReadSource(_store, _area.Path);

    /// <returns>True: whether it was written, or somebody else was faster, the states have changed.</returns>
    private bool SwitchTo(XenbusState next, params ReadOnlySpan<KeyValuePair<string, string?>> keys)
    {
        if (_area.Switch(_store, _states.Backend, next, keys))
            NoteState(next);
        return true;
    }

    private void NoteState(XenbusState next)
    {
        if (MayLog())
            _context.Log.StateChanged(Id, _states.Backend, next, _states.Frontend);
        _states = _states with { Backend = next };
    }

    /// <summary>
    /// Goes to Closing with the reason in xenstore and one line in the log; the next step waits for the frontend.
    /// libxl, however, waits for InitWait and sees nothing else, and runs the script then, which can tell the reason: a
    /// device that cannot even begin goes there first, and to Closing when the frontend wants to connect or the
    /// toolstack gives up.
    /// </summary>
    private void Fail(string reason)
    {
        string line = LogText.Shorten(reason, MaxReasonLength);
        _fault = new Fault(line, DiskKeys.ReadSource(_store, _area.Path));
        if (MayLog())
            _context.Log.DeviceFailed(Id, line);
        bool begins = _states is { Backend: XenbusState.Initialising, Frontend: XenbusState.Initialising };
        XenbusState next = begins && TheScriptTells ? XenbusState.InitWait : XenbusState.Closing;
        if (_states.Backend == XenbusState.Closing || !_area.Fail(_store, _states.Backend, next, line))
            return;
        _states = _states with { Backend = next };
    }

    /// <summary>
    /// Of a driver domain's scripts the toolstack hears nothing: InitWait would be all that it waits for.
    /// </summary>
    private bool TheScriptTells => HasScript && (_store.Read("domid") ?? "0") == "0";

    /// <summary>What a guest can cause is logged only as often as this allows.</summary>
    private bool MayLog()
    {
        if (!_limiter.TryTake(out long suppressed))
            return false;
        if (suppressed > 0)
            _context.Log.LeftOut(Id, suppressed);
        return true;
    }

    private const int MaxReasonLength = 500;

    /// <param name="Source">What named the medium then.</param>
    private sealed record Fault(string Reason, string Source);

    private Fault? _fault;
    private bool _isOrphan;

    /// <summary>The connection by which the area was last there.</summary>
    private StoreConnection? _seenOn;

    /// <summary>A guest uses it.</summary>
    public bool IsServed => _vbd is not null;

    /// <summary>Asks the store itself, not what was last seen.</summary>
    public bool HasArea(IXenstore store) => store.Directory(_area.Path) is not null;

    /// <summary>The backend area is gone.</summary>
    private void Vanish(StoreConnection connection)
    {
        if ((_isOrphan || (connection.CameBackEmpty && _seenOn != connection)) && _vbd is not null)
        {
            // Nobody removed it: the guest is there and its requests are answered; killing it would help nobody.
            if (!_isOrphan)
                _context.Log.Orphaned(Id);
            _isOrphan = true;
            return;
        }
        if (HoldsAnything && !Release())
            return;
        if (_watchedBy == connection)
            _store.Unwatch(WatchedPath, WatchToken);
        _watchedBy = null;
        _area.ForgetError(_store);
        ForgetJournals();
        _left = true;
        _forget(this, _store);
    }

    public DeviceStatus Status()
    {
        (AreaStates states, Vbd? vbd, Disk? disk, VbdConnection? connection) = (_states, _vbd, _disk, _connection);
        return new DeviceStatus
        {
            Id = Id,
            BackendPath = _area.Path,
            FrontendPath = _frontendPath,
            BackendState = states.Backend,
            FrontendState = states.Frontend,
            IsOnline = states.Online,
            Image = disk?.Describe(),
            CapacitySectors = disk?.CapacitySectors ?? 0,
            IsReadOnly = _readOnly,
            IsConnected = vbd is { IsConnected: true },
            Protocol = connection?.Protocol,
            RingPages = connection?.Rings[0].References.Count ?? 0,
            Queues = vbd?.Queues ?? [],
            Features = _features,
            IsPaused = _isPaused,
            IsStopping = _isStopping,
            IsOrphan = _isOrphan,
            LastError = _fault?.Reason ?? _refusal ?? _waitsFor,
            Limits = _throttle.Limits,
        };
    }
}
