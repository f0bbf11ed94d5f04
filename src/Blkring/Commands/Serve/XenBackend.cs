using Blkring.Commands.Control;
using Blkring.Commands.Opener;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Reactors;
using Blkring.Engine.Xen;
using Blkring.Engine.Xenbus;
using Blkring.Settings;
using Microsoft.Extensions.Logging;

namespace Blkring.Commands.Serve;

/// <summary>
/// The engine under Xen: derives its options from the settings, and reports its devices to the control socket.
/// </summary>
internal sealed partial class XenBackend : IBackend
{
    private readonly ILogger _log;
    private readonly ReactorPool _reactors;
    private readonly XenbusBackend _backend;
    private int _engineLogged;

    private XenBackend(ServeSettings settings, XenHypervisor hypervisor, OpenerClient? opener, ILogger logger)
    {
        _log = logger;
        _reactors = new ReactorPool(ReactorPoolOptions.Of(settings.Values) with { Started = LogEngineOnce });
        _backend = new XenbusBackend(BackendOf(settings, opener), OpenStore, hypervisor, _reactors, logger);

        XenstoreConnection OpenStore()
        {
            // A xenstored that was restarted has a new socket.
            opener?.AskForXen();
            return XenstoreConnection.Open();
        }
    }

    /// <summary>
    /// Detects Xen by its libraries, not by device files: other implementations of the libraries have no device files.
    /// </summary>
    /// <exception cref="XenMissingException">Xen or one of its libraries is missing.</exception>
    public static IBackend Open(ServeSettings settings, ILogger logger)
    {
        try
        {
            OpenerClient? opener = settings.Opener is { } socket ? new OpenerClient(socket) : null;
            opener?.AskForXen();
            return new XenBackend(settings, XenHypervisor.Open(), opener, logger);
        }
        catch (XenUnavailableException e)
        {
            throw new XenMissingException(e.Message);
        }
    }

    public void Start()
    {
        try
        {
            _backend.Start();
        }
        catch (XenstoreException e)
        {
            throw new XenMissingException(e.Message);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException(
                $"cannot keep journals in {RuntimeFolder.Path}: {e.Message}; run this as root, or set RUNTIME_DIRECTORY"
            );
        }
    }

    public bool Stop(TimeSpan timeout) => _backend.Stop(timeout);

    public string? Sickness => _backend.Sickness;

    public MappedGrantsReport MappedGrants => new(_backend.TakenGrants, _backend.MaxGrants);

    public int DeviceCount => _backend.Devices.Count;

    public IReadOnlyList<DeviceReport> List() => [.. _backend.Devices.Select(Report)];

    public void Resize(DeviceName device, long? bytes) => Command(device, id => _backend.Resize(id, bytes));

    public void Pause(DeviceName device) => Command(device, _backend.Pause);

    public void Resume(DeviceName device) => Command(device, _backend.Resume);

    public void Continue(DeviceName device, bool failRequest) =>
        Command(device, id => _backend.Continue(id, failRequest));

    public void Eject(DeviceName device) => Command(device, _backend.Eject);

    public void Insert(DeviceName device, string path) => Command(device, id => _backend.Insert(id, path));

    public void Limit(DeviceName device, LimitsReport change, bool keep) =>
        Command(device, id => _backend.Limit(id, change.ApplyTo, keep));

    public void Dispose()
    {
        _backend.Dispose();
        _reactors.Dispose();
    }

    private static void Command(DeviceName device, Action<DeviceId> command)
    {
        try
        {
            command(new DeviceId(device.Frontend, device.Number));
        }
        catch (XenbusCommandException e)
        {
            throw new ControlException(Advice.Explain(e.Error));
        }
    }

    // Logged once: the kernel treats all threads of a process alike, and guests cause threads to start.
    private void LogEngineOnce(Reactor reactor)
    {
        if (Interlocked.Exchange(ref _engineLogged, 1) == 1)
            return;
        string engine = reactor.Describe();
        if (reactor.UsesIoUring)
            LogEngine(engine);
        else
            LogSlowEngine(engine);
    }

    private static BackendOptions BackendOf(ServeSettings settings, OpenerClient? opener) =>
        new()
        {
            Directory = settings.Backend,
            Frontend = settings.Frontend is int domain ? new DomainId((ushort)domain) : null,
            MaxMappedGrants = settings.MaxMappedGrants,
            JournalFolder = RuntimeFolder.JournalsOf(settings.Backend),
            Advice = Advice.For,
            Opener = opener is null ? OwnOpener.Instance : opener,
            LimitsFile = RuntimeFolder.LimitsOf(settings.Backend),
            Device = settings.OptionsOf,
        };

    private static DeviceReport Report(DeviceStatus device) =>
        new()
        {
            Device = device.Id.ToString(),
            Name = DeviceName.NameOf(device.Id.Number),
            Image = device.Image ?? "",
            ImagePath = device.ImagePath,
            BlockDevice = device.IsBlockDevice,
            Lock = NameOf(device.HeldLock, device.IsLocked),
            Claimed = device.IsClaimed,
            State =
                device.IsPaused ? "paused"
                : device.IsWaiting ? "waiting"
                : device.IsStopping ? "stopping"
                : NameOf(device.BackendState),
            FrontendState = NameOf(device.FrontendState),
            CapacityBytes = device.Image is null ? null : device.CapacitySectors * Disk.SectorBytes,
            ReadOnly = device.IsReadOnly,
            Protocol = device.Protocol,
            Queues = device.IsConnected ? device.Queues.Count : null,
            RingPages = device.IsConnected ? device.RingPages : null,
            MaxMappedPages = device.IsConnected ? device.MaxMappedPages : null,
            Features = [.. FeaturesOf(device.Features)],
            Limits = LimitsReport.Of(device.Limits),
            Error =
                device.LastError
                ?? (
                    device.IsOrphan
                        ? "xenstore was restarted without this device: it stays connected until its keys return or "
                            + "the daemon exits"
                        : null
                ),
            Delay = device.Delay is { } delay ? $"{delay.What} for {delay.Lasted.TotalSeconds:0} s" : null,
            NeedsDecision = device.NeedsDecision ? true : null,
            Statistics = device.IsConnected
                ? DeviceStatistics.Sum([.. device.Queues.Select(queue => queue.Statistics)])
                : null,
        };

    [LoggerMessage(Level = LogLevel.Information, EventName = "io-engine", Message = "I/O engine: {Engine}")]
    private partial void LogEngine(string engine);

    [LoggerMessage(
        Level = LogLevel.Warning,
        EventName = "io-engine-slow",
        Message = "io_uring unavailable ({Engine}); using synchronous I/O, expect lower throughput"
    )]
    private partial void LogSlowEngine(string engine);

    private static string NameOf(XenbusState state) => state.ToString().ToLowerInvariant();

    private static string? NameOf(ImageLock? held, bool isLocked) =>
        held switch
        {
            null => null,
            _ when !isLocked => "off",
            ImageLock.Exclusive => "exclusive",
            ImageLock.Shared => "shared",
            ImageLock.None => "none",
            _ => "waiting",
        };

    private static IEnumerable<string> FeaturesOf(IReadOnlyDictionary<string, string> keys)
    {
        if (keys.GetValueOrDefault(XenstoreKeys.FeatureFlushCache) == "1")
            yield return "flush";
        if (keys.GetValueOrDefault(XenstoreKeys.FeatureBarrier) == "1")
            yield return "barrier";
        if (keys.GetValueOrDefault(XenstoreKeys.FeatureDiscard) == "1")
            yield return "discard";
        if (keys.GetValueOrDefault(XenstoreKeys.FeaturePersistent) == "1")
            yield return "persistent";
        if (keys.TryGetValue(XenstoreKeys.MaxIndirectSegments, out string? segments))
            yield return $"indirect:{segments}";
    }
}
