using System.Collections.Concurrent;
using Blkring.Engine.Errors;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Microsoft.Extensions.Logging;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// The control plane: serves every device that appears in a directory of xenstore. One thread watches the store and
/// only marks devices. Marked devices run their steps: one step at a time per device, any number of devices at the same
/// time (see docs/xenbus.md).
/// </summary>
public sealed class XenbusBackend : IDisposable
{
    private const string BackendToken = "backend";
    private static readonly TimeSpan s_housekeeping = TimeSpan.FromSeconds(1);

    /// <summary>What a drained device may take beyond its time to unmap its rings and to close its image.</summary>
    private static readonly TimeSpan s_leaving = TimeSpan.FromSeconds(1);

    private readonly BackendOptions _options;
    private readonly ILogger _log;
    private readonly DeviceContext _context;
    private readonly WatchLoop _watch;
    private readonly ScanStep _scan;
    private readonly ConcurrentDictionary<DeviceId, Device> _devices = new();
    private readonly ReactorHealth _reactorHealth;
    private readonly ITimer _housekeeper;
    private IDisposable? _watching;
    private long _growthCheckedAt;
    private bool _wasConnected,
        _lossLogged,
        _stopped;

    /// <param name="connect">Opens the store; called again whenever the connection was lost.</param>
    /// <param name="runtime">Null: <see cref="ControlRuntime.Production"/>.</param>
    public XenbusBackend(
        BackendOptions options,
        Func<IXenstore> connect,
        IHypervisor hypervisor,
        IReactors reactors,
        ILogger log,
        ControlRuntime? runtime = null
    )
    {
        if (!BackendSettings.IsDirectory(options.Directory))
            throw new ArgumentException(
                $"'{options.Directory}' cannot be a directory of xenstore's backend/: "
                    + "use letters, digits, hyphens and underscores",
                nameof(options)
            );
        runtime ??= ControlRuntime.Production;
        (_options, _log) = (options, log);
        _context = new DeviceContext(options, hypervisor, reactors, log, runtime);
        _scan = new ScanStep(this);
        _watch = new WatchLoop(connect, (_context.Root, BackendToken), OnConnected, OnLost, OnEvent, runtime.Time);
        _reactorHealth = new ReactorHealth(reactors, runtime.Time, options.RoundLimit);
        _growthCheckedAt = runtime.Time.GetTimestamp();
        _housekeeper = runtime.Time.CreateTimer(
            _ => HousekeepSafely(),
            null,
            Timeout.InfiniteTimeSpan,
            Timeout.InfiniteTimeSpan
        );
    }

    /// <summary>Connects to the store and serves from then on, existing devices first.</summary>
    /// <exception cref="XenstoreException">What is missing, and what to do.</exception>
    /// <exception cref="IOException">The journals' folder cannot be created or cleared.</exception>
    public void Start()
    {
        _context.Journals.CreateFolder();
        _context.Journals.TakeCrashNote();
        _watch.Start();
        _watching = _context.Runtime.StartWatching(_watch);
        _housekeeper.Change(s_housekeeping, s_housekeeping);
        _log.Started(_context.Root, _context.Hypervisor.Describe());
    }

    /// <summary>
    /// Drains and releases every device, and leaves their keys as they are: the next daemon takes over the rings, and
    /// guests notice only a pause.
    /// </summary>
    /// <returns>
    /// False when a disk still held requests after <paramref name="timeout"/>: the memory they use must stay until the
    /// process ends.
    /// </returns>
    public bool Stop(TimeSpan timeout)
    {
        if (_stopped)
            return true;
        _stopped = true;
        _housekeeper.Dispose();
        // No new step, but those that run are not waited for yet: one may be stuck in an image that does not answer.
        // Each device waits for its own step, and all have the same time.
        _context.Steps.Close();
        TimeProvider time = _context.Runtime.Time;
        long start = time.GetTimestamp();
        bool drained = _context.Steps.RunAll(
            [.. _devices.Values.Select(device => (Func<bool>)(() => device.Leave(timeout)))],
            timeout + s_leaving
        );
        TimeSpan left = timeout - time.GetElapsedTime(start);
        drained &= _context.Steps.Join(left > TimeSpan.Zero ? left : TimeSpan.Zero);
        // Afterwards: a store that does not answer keeps no device from being drained.
        _watching?.Dispose();
        _watch.Dispose();
        _log.Stopped(drained);
        return drained;
    }

    public void Dispose() => Stop(_options.DrainTimeout);

    /// <summary>Guests' pages that may be mapped at a time, and those that the queues of all devices may.</summary>
    public int MaxGrants => _context.Mappings.MaxGrants;
    public int TakenGrants => _context.Mappings.TakenGrants;

    /// <summary>All devices, including those that are being removed; sorted by domain and number.</summary>
    public IReadOnlyList<DeviceStatus> Devices =>
        [
            .. _devices
                .Values.Select(device => device.Status())
                .OrderBy(device => device.Id.Frontend.Value)
                .ThenBy(device => device.Id.Number),
        ];

    /// <summary>The time since the thread that watches the store last ran: for a watchdog.</summary>
    public TimeSpan SinceLastTurn => _watch.SinceLastTurn;

    /// <summary>Why a restart of the process would mend something; null if it would not.</summary>
    /// <remarks>
    /// Nothing that is stuck in a system call counts, be it a step, an operation of a disk or a whole reactor: a kill
    /// would not end that call, and would cost every guest.
    /// </remarks>
    public string? Sickness =>
        _reactorHealth.Spinning is { } reactor ? $"the I/O thread {reactor} does not come round"
        : _watch.IsSick(_options.RoundLimit) ? "the thread that watches xenstore does not come round"
        : null;

    public bool IsHealthy => Sickness is null;

    /// <summary>False while the store is away; connected devices are served nevertheless.</summary>
    public bool HasStore => _context.Session is not null;

    /// <summary>Serves a new length and tells the guest.</summary>
    /// <param name="bytes">At most the image's length; null for all of it.</param>
    /// <exception cref="XenbusCommandException">
    /// The command cannot be carried out; the message is one line. This holds for all commands.
    /// </exception>
    public void Resize(DeviceId id, long? bytes) => Find(id).Resize(bytes);

    /// <summary>Drains the device: afterwards no request is in flight, and new ones wait on the ring.</summary>
    public void Pause(DeviceId id) => Find(id).Pause();

    /// <summary>Serves a paused device again.</summary>
    public void Resume(DeviceId id) => Find(id).Resume();

    /// <summary>Lets a device go on that waits for a decision, in spite of what its error says.</summary>
    /// <param name="failRequest">
    /// A request that crashed the daemon too often is answered with an error, instead of being tried again.
    /// </param>
    public void Continue(DeviceId id, bool failRequest = false) => Find(id).Continue(failRequest);

    /// <summary>
    /// Changes the device's limits at once, for as long as its VM has this device and the daemon runs.
    /// </summary>
    /// <param name="change">Returns the new limits, given those in force.</param>
    /// <param name="keep">Also for the next daemon: <see cref="BackendOptions.LimitsFile"/>.</param>
    public void Limit(DeviceId id, Func<ThrottleLimits, ThrottleLimits> change, bool keep = false) =>
        Find(id).Limit(change, keep);

    /// <summary>Takes the medium out of a CD-ROM or removable drive.</summary>
    public void Eject(DeviceId id) => Find(id).Eject();

    /// <summary>Puts an image into such a drive.</summary>
    /// <param name="path">An absolute path.</param>
    public void Insert(DeviceId id, string path) => Find(id).Insert(path);

    private Device Find(DeviceId id) =>
        _devices.TryGetValue(id, out Device? device)
            ? device
            : throw new XenbusCommandException(ErrorCode.DeviceUnknown, $"there is no device {id} in {_context.Root}");

    private void OnConnected(IXenstore store)
    {
        bool empty = _wasConnected && HasLostContent(store);
        // On the first connection no device can be working on a journal yet.
        if (!_wasConnected)
            _context.Journals.RemoveStale(_options.Frontend, store);
        if (_wasConnected)
            _log.StoreBack();
        _wasConnected = true;
        _lossLogged = false;
        _context.Session = new StoreSession(store, empty);
        _context.Steps.Mark(_scan);
    }

    /// <summary>
    /// None of the devices that guests use has its keys: the store was restarted without its content, and a toolstack
    /// may already be creating new guests in it. That all were removed while there was no connection is not plausible.
    /// </summary>
    private bool HasLostContent(IXenstore store)
    {
        try
        {
            return !_devices.Values.Any(device => device.IsServed && device.HasArea(store));
        }
        catch (XenstoreException)
        {
            // The connection is lost again: the next one checks again.
            return true;
        }
    }

    private void OnLost(string reason)
    {
        _context.Session = null;
        // Logged once, however often the store cannot be reached.
        if (_lossLogged)
            return;
        _lossLogged = true;
        _log.StoreLost(reason);
    }

    /// <summary>Called on the watch thread: only marks devices.</summary>
    private void OnEvent(string path, string token)
    {
        if (token == BackendToken)
            OnBackendEvent(path);
        else if (
            token.StartsWith(FrontendArea.WatchTokenPrefix, StringComparison.Ordinal)
            && DeviceId.TryParse(token[FrontendArea.WatchTokenPrefix.Length..], out DeviceId id)
            && _devices.TryGetValue(id, out Device? device)
        )
        {
            device.NoteFrontendEvent();
            _context.Steps.Mark(device);
        }
    }

    /// <summary>
    /// The path names the key that changed: backend/vbd3/7/51712/online. A shorter path concerns several devices.
    /// </summary>
    private void OnBackendEvent(string path)
    {
        string below = path.Length > _context.Root.Length ? path[(_context.Root.Length + 1)..] : "";
        string[] names = below.Split('/');
        if (names.Length < 2)
        {
            _context.Steps.Mark(_scan);
            return;
        }
        if (names.Length > 3 || (names.Length == 3 && !IsFollowed(names[2])))
            return;
        if (DeviceId.TryParse(names[0], names[1], out DeviceId id))
            Discover(id);
    }

    /// <summary>
    /// The backend itself writes the other keys, or reads them when one of these changes.
    /// </summary>
    private static bool IsFollowed(string key) =>
        key
            is XenstoreKeys.State
                or XenstoreKeys.Online
                or XenstoreKeys.Frontend
                or XenstoreKeys.FrontendId
                or XenstoreKeys.Params
                or XenstoreKeys.PhysicalDevice
                or XenstoreKeys.PhysicalDevicePath;

    private void Discover(DeviceId id)
    {
        if (_options.Frontend is { } only && id.Frontend != only)
            return;
        Device device = _devices.GetOrAdd(
            id,
            static (id, backend) => new Device(id, backend._context, backend.Forget),
            this
        );
        _context.Steps.Mark(device);
    }

    private void Forget(Device device, IXenstore store)
    {
        _devices.TryRemove(new KeyValuePair<DeviceId, Device>(device.Id, device));
        // The device may have been created again after its last step and before it left the table, so a mark was lost.
        if (device.HasArea(store))
            Discover(device.Id);
    }

    /// <summary>On a timer, where an exception would end the process.</summary>
    private void HousekeepSafely()
    {
        try
        {
            Housekeep();
        }
        catch (Exception bug)
        {
            _log.Bug("housekeeping", bug);
        }
    }

    /// <summary>Never waits: the devices' own steps check for growth and react to broken rings.</summary>
    private void Housekeep()
    {
        LookAtReactors();
        TimeProvider time = _context.Runtime.Time;
        bool growthDue = time.GetElapsedTime(_growthCheckedAt) >= _options.GrowthInterval;
        if (growthDue)
            _growthCheckedAt = time.GetTimestamp();
        foreach (Device device in _devices.Values)
        {
            device.Look();
            if (growthDue)
                device.NoteGrowthDue();
            if (device.LogFaults() || growthDue)
                _context.Steps.Mark(device);
        }
    }

    private void LookAtReactors()
    {
        string? before = _reactorHealth.Stuck;
        _reactorHealth.Look();
        if (_reactorHealth.Stuck is { } stuck && stuck != before)
            _log.ReactorStuck(stuck);
    }

    /// <summary>Marks all known devices, which may be gone, and all in the directory, which may be new.</summary>
    private sealed class ScanStep(XenbusBackend backend) : Step
    {
        protected override void Act()
        {
            foreach (Device device in backend._devices.Values)
                backend._context.Steps.Mark(device);
            if (backend._context.Session is not { } session)
                return;
            try
            {
                Scan(session.Store);
            }
            catch (Exception e) when (e is XenstoreException or ObjectDisposedException)
            {
                backend._context.Steps.MarkLater(this, DeviceContext.RetryDelay);
            }
        }

        protected override void NoteBug(Exception bug)
        {
            backend._log.Bug("scan", bug);
            backend._context.Steps.MarkLater(this, DeviceContext.RetryDelay);
        }

        private void Scan(IXenstore store)
        {
            string root = backend._context.Root;
            foreach (string domain in store.Directory(root) ?? [])
            foreach (string number in store.Directory($"{root}/{domain}") ?? [])
                if (DeviceId.TryParse(domain, number, out DeviceId id))
                    backend.Discover(id);
        }
    }
}
