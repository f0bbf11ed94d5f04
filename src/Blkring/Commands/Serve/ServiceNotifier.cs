using System.Globalization;
using System.Net.Sockets;
using Microsoft.Extensions.Hosting.Systemd;

namespace Blkring.Commands.Serve;

/// <summary>
/// Notifies systemd (sd_notify(3)). Without a socket nothing is sent; a failure to send is ignored.
/// </summary>
internal sealed class ServiceNotifier
{
    private readonly ISystemdNotifier _systemd;

    /// <param name="systemd">Sends to the socket that NOTIFY_SOCKET names.</param>
    /// <param name="watchdogUsec">The value of WATCHDOG_USEC.</param>
    /// <param name="watchdogPid">The value of WATCHDOG_PID: the process that is watched; absent means any.</param>
    public ServiceNotifier(ISystemdNotifier systemd, string? watchdogUsec, string? watchdogPid)
    {
        _systemd = systemd;
        bool ours =
            string.IsNullOrEmpty(watchdogPid)
            || watchdogPid == Environment.ProcessId.ToString(CultureInfo.InvariantCulture);
        if (
            systemd.IsEnabled
            && ours
            && long.TryParse(watchdogUsec, NumberStyles.None, CultureInfo.InvariantCulture, out long usec)
            && usec > 1
        )
            WatchdogPeriod = TimeSpan.FromMicroseconds(usec / 2.0);
    }

    /// <summary>Reads NOTIFY_SOCKET and removes it, so that no child process speaks for this one.</summary>
    public static ServiceNotifier FromEnvironment() =>
        new(
            new SystemdNotifier(),
            Environment.GetEnvironmentVariable("WATCHDOG_USEC"),
            Environment.GetEnvironmentVariable("WATCHDOG_PID")
        );

    /// <summary>
    /// The interval at which to call <see cref="Watchdog"/>: half of what systemd allows. Null if systemd does not
    /// watch this process.
    /// </summary>
    public TimeSpan? WatchdogPeriod { get; }

    public void Ready(string status) => Send($"READY=1\nSTATUS={status}");

    public void Status(string status) => Send($"STATUS={status}");

    public void Stopping(string status) => Send($"STOPPING=1\nSTATUS={status}");

    public void Watchdog() => Send("WATCHDOG=1");

    private void Send(string state)
    {
        try
        {
            _systemd.Notify(new ServiceState(state));
        }
        catch (SocketException)
        {
            // systemd does not listen. Guests are served without it.
        }
    }
}
