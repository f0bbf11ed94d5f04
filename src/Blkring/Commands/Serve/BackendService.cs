using Blkring.Commands.Control;
using Blkring.Settings;
using Microsoft.Extensions.Logging;

namespace Blkring.Commands.Serve;

/// <summary>
/// Starts the daemon: lock, backend, control socket, readiness, in this order; and stops it in reverse.
/// </summary>
internal sealed partial class BackendService(
    ServeSettings settings,
    OpenBackend open,
    ServiceNotifier notifier,
    ILogger logger
) : IDisposable
{
    private static readonly TimeSpan s_statusPeriod = TimeSpan.FromSeconds(5);

    private DirectoryLock? _lock;
    private IBackend? _backend;
    private ControlServer? _control;
    private Timer? _watchdog,
        _status;
    private string _lastStatus = "";
    private bool _unresponsive;

    /// <summary>Whether the last stop left no request in flight.</summary>
    public bool Drained { get; private set; }

    private string Name => RuntimeFolder.NameOf(settings.Backend, settings.Frontend);

    /// <exception cref="UsageException">The configuration does not suit this host.</exception>
    /// <exception cref="XenMissingException">Xen or one of its libraries is missing.</exception>
    public async Task StartAsync()
    {
        _lock = new DirectoryLock(RuntimeFolder.Path, settings.Backend, settings.Frontend);
        _backend = open(settings, logger);
        string socket = settings.ControlSocket;
        // Before any ring of a guest is touched: without its socket the daemon does not start.
        _control = ControlServer.Start(socket, _backend);
        try
        {
            _backend.Start();
        }
        catch
        {
            await _control.DisposeAsync().ConfigureAwait(false);
            throw;
        }
        LogStarted(Name, socket);
        notifier.Ready(_lastStatus = StatusLine());
        _status = new Timer(_ => Safely(ReportStatus), null, s_statusPeriod, s_statusPeriod);
        if (notifier.WatchdogPeriod is TimeSpan period)
            _watchdog = new Timer(_ => Safely(KeepAlive), null, period, period);
    }

    public async Task StopAsync()
    {
        if (_backend is null)
            return;
        if (_control is not null)
        {
            notifier.Stopping($"draining {Name}");
            LogDraining(Name, _backend.DeviceCount);
            await _control.DisposeAsync().ConfigureAwait(false);
        }
        Drained = _backend.Stop(settings.DrainTimeout);
        if (!Drained)
            LogNotDrained(Name, settings.DrainTimeout.TotalSeconds);
    }

    private string StatusLine() =>
        $"serving {Name}: {_backend!.DeviceCount} device{(_backend.DeviceCount == 1 ? "" : "s")}";

    private void ReportStatus()
    {
        string status = StatusLine();
        if (status == _lastStatus)
            return;
        notifier.Status(_lastStatus = status);
    }

    // Without the keep-alive, systemd kills this process and starts another, which takes over the devices.
    private void KeepAlive()
    {
        string? sickness = _backend!.Sickness;
        if (sickness is not null && !_unresponsive)
            LogUnresponsive(Name, sickness);
        _unresponsive = sickness is not null;
        if (!_unresponsive)
            notifier.Watchdog();
    }

    /// <summary>For timers, where an exception would end the process.</summary>
    private void Safely(Action action)
    {
        try
        {
            action();
        }
        catch (Exception bug)
        {
            LogBug(Name, bug);
        }
    }

    public void Dispose()
    {
        _watchdog?.Dispose();
        _status?.Dispose();
        // Requests in flight use the memory until the process has ended.
        if (Drained)
            _backend?.Dispose();
        _lock?.Dispose();
    }

    [LoggerMessage(
        Level = LogLevel.Information,
        EventName = "daemon-started",
        Message = "{Name}: control socket {Socket}"
    )]
    private partial void LogStarted(string name, string socket);

    [LoggerMessage(
        Level = LogLevel.Information,
        EventName = "daemon-draining",
        Message = "{Name}: draining {Count} device(s)"
    )]
    private partial void LogDraining(string name, int count);

    [LoggerMessage(
        Level = LogLevel.Error,
        EventName = "daemon-not-drained",
        Message = "{Name}: requests still in flight after {Seconds} s: a disk does not respond"
    )]
    private partial void LogNotDrained(string name, double seconds);

    [LoggerMessage(
        Level = LogLevel.Error,
        EventName = "daemon-unresponsive",
        Message = "{Name}: {Reason}; withholding the watchdog keep-alive"
    )]
    private partial void LogUnresponsive(string name, string reason);

    [LoggerMessage(Level = LogLevel.Error, EventName = "daemon-bug", Message = "{Name}: a bug; guests are served on")]
    private partial void LogBug(string name, Exception bug);
}
