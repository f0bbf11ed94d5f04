using Blkring.Commands.Control;
using Blkring.Settings;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Blkring.Commands.Serve;

/// <summary>
/// The daemon's life: lock, backend, control socket, and then what systemd wants to hear, in this order, and back.
/// </summary>
internal sealed partial class BackendService(
    IOptions<ServeSettings> options,
    OpenBackend open,
    SystemdNotifier notifier,
    ILogger<BackendService> logger
) : IHostedService, IDisposable
{
    private static readonly TimeSpan s_statusPeriod = TimeSpan.FromSeconds(5);

    private readonly ServeSettings _settings = options.Value;
    private DirectoryLock? _lock;
    private IBackend? _backend;
    private ControlServer? _control;
    private Timer? _watchdog,
        _status;
    private string _lastStatus = "";
    private bool _sick;

    /// <summary>Whether the last stop left no request under way.</summary>
    public bool Drained { get; private set; }

    private string Name => RuntimeFolder.NameOf(_settings.Backend, _settings.Frontend);

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        _lock = new DirectoryLock(RuntimeFolder.Path, _settings.Backend, _settings.Frontend);
        _backend = open(_settings, logger);
        string socket = _settings.ControlSocket is { Length: > 0 } path
            ? path
            : ControlSocketPath.Standard(_settings.Backend, _settings.Frontend);
        // Before a guest's ring is touched: a socket that cannot be had ends this process.
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
        _status = new Timer(_ => TellStatus(), null, s_statusPeriod, s_statusPeriod);
        if (notifier.WatchdogPeriod is TimeSpan period)
            _watchdog = new Timer(_ => FeedWatchdog(), null, period, period);
    }

    public async Task StopAsync(CancellationToken cancellationToken)
    {
        if (_backend is null)
            return;
        if (_control is not null)
        {
            notifier.Stopping($"draining {Name}");
            LogDraining(Name, _backend.DeviceCount);
            await _control.DisposeAsync().ConfigureAwait(false);
        }
        Drained = _backend.Stop(TimeSpan.FromSeconds(_settings.DrainTimeoutSeconds));
        if (!Drained)
            LogNotDrained(Name, _settings.DrainTimeoutSeconds);
    }

    private string StatusLine() =>
        $"serving {Name}: {_backend!.DeviceCount} device{(_backend.DeviceCount == 1 ? "" : "s")}";

    private void TellStatus()
    {
        string status = StatusLine();
        if (status == _lastStatus)
            return;
        notifier.Status(_lastStatus = status);
    }

    // Without its food the watchdog ends this process, and systemd starts another, which takes the devices over.
    private void FeedWatchdog()
    {
        bool sick = !_backend!.IsHealthy;
        if (sick && !_sick)
            LogSick(Name);
        _sick = sick;
        if (!sick)
            notifier.Watchdog();
    }

    public void Dispose()
    {
        _watchdog?.Dispose();
        _status?.Dispose();
        // What is still under way keeps its memory until the process is gone.
        if (Drained)
            _backend?.Dispose();
        _lock?.Dispose();
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "{Name}: control socket {Socket}")]
    private partial void LogStarted(string name, string socket);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Name}: draining {Count} device(s)")]
    private partial void LogDraining(string name, int count);

    [LoggerMessage(
        Level = LogLevel.Error,
        Message = "{Name}: requests are still under way after {Seconds} s: a disk does not answer"
    )]
    private partial void LogNotDrained(string name, int seconds);

    [LoggerMessage(
        Level = LogLevel.Error,
        Message = "{Name}: the thread that watches xenstore hangs; the watchdog is left unfed"
    )]
    private partial void LogSick(string name);
}
