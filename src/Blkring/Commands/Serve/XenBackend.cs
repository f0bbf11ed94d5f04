using Blkring.Commands.Control;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Xen;
using Blkring.Engine.Xenbus;
using Blkring.Interop;
using Blkring.Settings;
using Microsoft.Extensions.Logging;

namespace Blkring.Commands.Serve;

/// <summary>
/// The engine under Xen: settings become its options, and its devices the reports of the control socket.
/// </summary>
internal sealed partial class XenBackend : IBackend
{
    private readonly ILogger _log;
    private readonly ReactorPool _reactors;
    private readonly XenbusBackend _backend;
    private int _told;

    private XenBackend(ServeSettings settings, XenHypervisor hypervisor, ILogger logger)
    {
        _log = logger;
        _reactors = new ReactorPool(ReactorsOf(settings, TellEngine));
        _backend = new XenbusBackend(BackendOf(settings), XenstoreConnection.Open, hypervisor, _reactors, logger);
    }

    /// <summary>
    /// Asks the libraries, and not the presence of device files, whether there is Xen: there are others that implement
    /// them.
    /// </summary>
    /// <exception cref="XenMissingException">There is none.</exception>
    public static IBackend Open(ServeSettings settings, ILogger logger)
    {
        try
        {
            return new XenBackend(settings, XenHypervisor.Open(), logger);
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
                $"the journals in {RuntimeFolder.Path} cannot be kept: {e.Message}; run this as root, or set RUNTIME_DIRECTORY"
            );
        }
    }

    public bool Stop(TimeSpan timeout) => _backend.Stop(timeout);

    public bool IsHealthy => _backend.IsHealthy;

    public int DeviceCount => _backend.Devices.Count;

    public IReadOnlyList<DeviceReport> List() => [.. _backend.Devices.Select(Report)];

    public void Resize(DeviceName device, long? bytes) => Command(device, id => _backend.Resize(id, bytes));

    public void Pause(DeviceName device) => Command(device, _backend.Pause);

    public void Resume(DeviceName device) => Command(device, _backend.Resume);

    public void Eject(DeviceName device) => Command(device, _backend.Eject);

    public void Insert(DeviceName device, string path) => Command(device, id => _backend.Insert(id, path));

    public void Limit(DeviceName device, LimitsReport change) =>
        Command(device, id => _backend.Limit(id, change.ApplyTo));

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
            throw new ControlException(e.Message);
        }
    }

    // All threads of a process get the same from the kernel, and guests cause threads: one line is enough.
    private void TellEngine(Reactor reactor)
    {
        if (Interlocked.Exchange(ref _told, 1) == 1)
            return;
        string engine = reactor.Describe();
        if (reactor.UsesIoUring)
            LogEngine(engine);
        else
            LogSlowEngine(engine);
    }

    private static ReactorPoolOptions ReactorsOf(ServeSettings settings, Action<Reactor> started)
    {
        IReadOnlyList<int> cpus = CpuList.Parse(settings.Cpus);
        int count = cpus.Count > 0 ? cpus.Count : CpuAffinity.Allowed().Length;
        return new ReactorPoolOptions
        {
            Threads = settings.IoThreads ?? Math.Min(count, ServeKey.DefaultMaxIoThreads),
            ThreadPerQueue = settings.ThreadsPerQueue == ThreadChoice.Dedicated,
            Cpus = cpus,
            Started = started,
            Reactor = new ReactorOptions { PollWindow = TimeSpan.FromMicroseconds(settings.PollWindowMicroseconds) },
        };
    }

    private static BackendOptions BackendOf(ServeSettings settings) =>
        new()
        {
            Directory = settings.Backend,
            Frontend = settings.Frontend is int domain ? new DomainId((ushort)domain) : null,
            JournalFolder = RuntimeFolder.JournalsOf(settings.Backend),
            Device = id => DeviceOf(settings.ForDevice(new DeviceName(id.Frontend, id.Number))),
        };

    private static DeviceOptions DeviceOf(DeviceSettings settings) =>
        new()
        {
            Cache = settings.Cache switch
            {
                CacheChoice.Writeback => CacheMode.Writeback,
                CacheChoice.Writethrough => CacheMode.Writethrough,
                _ => CacheMode.None,
            },
            MaxQueues = settings.MaxQueues,
            MaxRingPageOrder = settings.MaxRingPageOrder,
            MaxIndirectSegments = settings.MaxIndirectSegments,
            GrantMode = settings.Grants switch
            {
                GrantChoice.Copy => GrantMode.Copy,
                GrantChoice.Map => GrantMode.Map,
                GrantChoice.Persistent => GrantMode.Persistent,
                _ => null,
            },
            NativeSectors = settings.NativeSectors,
            Lock = settings.Lock,
            Limits = settings.Limits,
        };

    private static DeviceReport Report(DeviceStatus device) =>
        new()
        {
            Device = device.Id.ToString(),
            Name = DeviceName.NameOf(device.Id.Number),
            Image = device.Image ?? "",
            State =
                device.IsPaused ? "paused"
                : device.IsStopping ? "stopping"
                : NameOf(device.BackendState),
            FrontendState = NameOf(device.FrontendState),
            CapacityBytes = device.Image is null ? null : device.CapacitySectors * Disk.SectorBytes,
            ReadOnly = device.IsReadOnly,
            Protocol = device.Protocol,
            Queues = device.IsConnected ? device.Queues.Count : null,
            RingPages = device.IsConnected ? device.RingPages : null,
            Features = [.. FeaturesOf(device.Features)],
            Limits = LimitsReport.Of(device.Limits),
            Error =
                device.LastError
                ?? (
                    device.IsOrphan
                        ? "xenstore came back without this device: it is served on until its keys come back or the daemon ends"
                        : null
                ),
            Statistics = device.IsConnected
                ? DeviceStatistics.Sum([.. device.Queues.Select(queue => queue.Statistics)])
                : null,
        };

    [LoggerMessage(Level = LogLevel.Information, Message = "disk I/O by {Engine}")]
    private partial void LogEngine(string engine);

    [LoggerMessage(Level = LogLevel.Warning, Message = "disk I/O by {Engine}: disks are much slower so")]
    private partial void LogSlowEngine(string engine);

    private static string NameOf(XenbusState state) => state.ToString().ToLowerInvariant();

    private static IEnumerable<string> FeaturesOf(IReadOnlyDictionary<string, string> keys)
    {
        if (keys.GetValueOrDefault("feature-flush-cache") == "1")
            yield return "flush";
        if (keys.GetValueOrDefault("feature-barrier") == "1")
            yield return "barrier";
        if (keys.GetValueOrDefault("feature-discard") == "1")
            yield return "discard";
        if (keys.GetValueOrDefault("feature-persistent") == "1")
            yield return "persistent";
        if (keys.TryGetValue("feature-max-indirect-segments", out string? segments))
            yield return $"indirect:{segments}";
    }
}
