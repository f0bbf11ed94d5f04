using System.Collections.Concurrent;
using System.Diagnostics;
using Blkring.Engine.Errors;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Microsoft.Extensions.Logging;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// The control plane: serves every device that appears in a directory of xenstore. One thread watches the store and
/// only marks devices; what follows from a mark is done in steps, one device at a time in itself and any number beside
/// each other (see docs/xenbus.md).
/// </summary>
public sealed class XenbusBackend : IDisposable
{
    private const string BackendToken = "backend";
    private static readonly TimeSpan s_housekeeping = TimeSpan.FromSeconds(1),
        s_sick = TimeSpan.FromSeconds(10);

    private readonly BackendOptions _options;
    private readonly ILogger _log;
    private readonly StepPool _pool = new("xenbus");
    private readonly DeviceContext _context;
    private readonly WatchLoop _watch;
    private readonly ScanStep _scan;
    private readonly ConcurrentDictionary<DeviceId, Device> _devices = new();
    private readonly Timer _housekeeper;
    private long _growthLookedAt = Environment.TickCount64;
    private bool _wasConnected,
        _lossLogged,
        _stopped;

    /// <param name="connect">Opens the store; called again whenever the connection was lost.</param>
    public XenbusBackend(
        BackendOptions options,
        Func<IXenstore> connect,
        IHypervisor hypervisor,
        IReactors reactors,
        ILogger log
    )
    {
        if (
            options.Directory.Length == 0
            || !options.Directory.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_')
        )
            throw new ArgumentException(
                $"'{options.Directory}' cannot be a directory of xenstore's backend/: letters, digits, - and _ can",
                nameof(options)
            );
        (_options, _log) = (options, log);
        _context = new DeviceContext(options, hypervisor, reactors, log, _pool);
        _scan = new ScanStep(this);
        _watch = new WatchLoop(connect, (_context.Root, BackendToken), OnConnected, OnLost, OnEvent);
        _housekeeper = new Timer(_ => KeepHouse());
    }

    /// <summary>Connects to the store and serves from then on; devices that are there already come first.</summary>
    /// <exception cref="XenstoreException">What is missing, and what to do.</exception>
    /// <exception cref="IOException">The journals' folder cannot be made or cleared.</exception>
    public void Start()
    {
        if (_options.JournalFolder is { } folder)
            MakePrivate(folder);
        _watch.Start();
        _housekeeper.Change(s_housekeeping, s_housekeeping);
        _log.Started(_context.Root, _context.Hypervisor.Describe());
    }

    /// <summary>
    /// Drains and lets go of every device, and leaves their keys as they are: the next daemon takes the rings over, and
    /// guests notice no more than a pause.
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
        _watch.Dispose();
        long start = Stopwatch.GetTimestamp();
        _pool.Stop(timeout);
        TimeSpan left = timeout - Stopwatch.GetElapsedTime(start);
        if (left < TimeSpan.Zero)
            left = TimeSpan.Zero;
        Task<bool>[] leaving =
        [
            .. _devices.Values.Select(device =>
                Task.Factory.StartNew(
                    () => device.Leave(left),
                    CancellationToken.None,
                    TaskCreationOptions.LongRunning,
                    TaskScheduler.Default
                )
            ),
        ];
        bool drained = Task.WhenAll(leaving).GetAwaiter().GetResult().All(drainedInTime => drainedInTime);
        _log.Stopped(drained);
        return drained;
    }

    public void Dispose() => Stop(_options.DrainTimeout);

    /// <summary>All devices there are, those that are about to go too; by domain and number.</summary>
    public IReadOnlyList<DeviceStatus> Devices =>
        [
            .. _devices
                .Values.Select(device => device.Status())
                .OrderBy(device => device.Id.Frontend.Value)
                .ThenBy(device => device.Id.Number),
        ];

    /// <summary>Since the thread that watches the store last came round: what a watchdog asks.</summary>
    public TimeSpan SinceLastTurn => _watch.SinceLastTurn;

    public bool IsHealthy => SinceLastTurn < s_sick;

    /// <summary>False while the store is away; what is connected is served on.</summary>
    public bool HasStore => _context.Store is not null;

    /// <summary>Tells the guest of a new length.</summary>
    /// <param name="bytes">At most the image's length; null for all of it.</param>
    /// <exception cref="XenbusCommandException">One line why not; so with the other commands.</exception>
    public void Resize(DeviceId id, long? bytes) => Find(id).Resize(bytes);

    /// <summary>Drains the device: afterwards nothing is under way, and the guest's requests wait.</summary>
    public void Pause(DeviceId id) => Find(id).Pause();

    /// <summary>Serves a paused device again.</summary>
    public void Resume(DeviceId id) => Find(id).Resume();

    /// <summary>Changes what the device may do at most, at once, and for as long as the device is there.</summary>
    /// <param name="change">From the limits that hold to those that shall.</param>
    public void Limit(DeviceId id, Func<ThrottleLimits, ThrottleLimits> change) => Find(id).Limit(change);

    /// <summary>Takes the medium out of a CD-ROM or removable drive.</summary>
    public void Eject(DeviceId id) => Find(id).Eject();

    /// <summary>Puts an image into such a drive.</summary>
    /// <param name="path">From / on.</param>
    public void Insert(DeviceId id, string path) => Find(id).Insert(path);

    private static void MakePrivate(string folder)
    {
        const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
        if (OperatingSystem.IsLinux())
            Directory.CreateDirectory(folder, OwnerOnly);
    }

    private Device Find(DeviceId id) =>
        _devices.TryGetValue(id, out Device? device)
            ? device
            : throw new XenbusCommandException(ErrorCode.DeviceUnknown, $"there is no device {id} in {_context.Root}");

    private void OnConnected(IXenstore store)
    {
        bool empty = _wasConnected && HasLostContent(store);
        // The first time there is no device yet that could be at work on a journal.
        if (!_wasConnected && _options.JournalFolder is { } folder)
            Journals.RemoveStale(folder, _context.Root, _options.Frontend, store);
        if (_wasConnected)
            _log.StoreBack();
        _wasConnected = true;
        _lossLogged = false;
        _context.Store = new StoreConnection(store, empty);
        _pool.Mark(_scan);
    }

    /// <summary>
    /// Of the devices that guests use not one has its keys: a store that was restarted without its content, where a
    /// toolstack may already be making new guests. That all were removed in the moment when nobody was connected is not
    /// believed.
    /// </summary>
    private bool HasLostContent(IXenstore store)
    {
        try
        {
            return !_devices.Values.Any(device => device.IsServed && device.HasArea(store));
        }
        catch (XenstoreException)
        {
            // Lost again: whoever comes next asks again.
            return true;
        }
    }

    private void OnLost(string why)
    {
        _context.Store = null;
        // Once, however often the store cannot be reached.
        if (_lossLogged)
            return;
        _lossLogged = true;
        _log.StoreLost(why);
    }

    /// <summary>On the watching thread: only marks.</summary>
    private void OnEvent(string path, string token)
    {
        if (token == BackendToken)
            OnBackendEvent(path);
        else if (
            token.StartsWith(Device.WatchTokenPrefix, StringComparison.Ordinal)
            && DeviceId.TryParse(token[Device.WatchTokenPrefix.Length..], out DeviceId id)
            && _devices.TryGetValue(id, out Device? device)
        )
            _pool.Mark(device);
    }

    /// <summary>
    /// Whose key changed is in the path: backend/vbd3/7/51712/online. A shorter one tells of several devices.
    /// </summary>
    private void OnBackendEvent(string path)
    {
        string below = path.Length > _context.Root.Length ? path[(_context.Root.Length + 1)..] : "";
        string[] names = below.Split('/');
        if (names.Length < 2)
        {
            _pool.Mark(_scan);
            return;
        }
        if (names.Length > 3 || (names.Length == 3 && !MattersToUs(names[2])))
            return;
        if (DeviceId.TryParse(names[0], names[1], out DeviceId id))
            Discover(id);
    }

    /// <summary>Most keys we write ourselves, and most of the toolstack's are read when one of these changes.</summary>
    private static bool MattersToUs(string key) =>
        key
            is "state"
                or "online"
                or "frontend"
                or "frontend-id"
                or "params"
                or "physical-device"
                or "physical-device-path";

    private void Discover(DeviceId id)
    {
        if (_options.Frontend is { } only && id.Frontend != only)
            return;
        _pool.Mark(
            _devices.GetOrAdd(id, static (id, backend) => new Device(id, backend._context, backend.Forget), this)
        );
    }

    private void Forget(Device device, IXenstore store)
    {
        _devices.TryRemove(new KeyValuePair<DeviceId, Device>(device.Id, device));
        // Made again after the device last looked, and before it was out of the table: its mark is lost with it.
        if (store.Directory($"{_context.Root}/{device.Id}") is not null)
            Discover(device.Id);
    }

    /// <summary>Never waits: growth is looked for, and faults are followed, in the devices' own steps.</summary>
    private void KeepHouse()
    {
        bool growthDue = Environment.TickCount64 - _growthLookedAt >= _options.GrowthInterval.TotalMilliseconds;
        if (growthDue)
            _growthLookedAt = Environment.TickCount64;
        foreach (Device device in _devices.Values)
        {
            if (growthDue)
                device.NoteGrowthDue();
            if (device.LogFaults() || growthDue)
                _pool.Mark(device);
        }
    }

    /// <summary>Finds the devices that are there, and has those looked at that no longer are.</summary>
    private sealed class ScanStep(XenbusBackend backend) : Step
    {
        public override void Run()
        {
            foreach (Device device in backend._devices.Values)
                backend._pool.Mark(device);
            if (backend._context.Store is not { } connection)
                return;
            try
            {
                Scan(connection.Store);
            }
            catch (Exception e) when (e is XenstoreException or ObjectDisposedException)
            {
                backend._pool.MarkLater(this, s_housekeeping);
            }
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
