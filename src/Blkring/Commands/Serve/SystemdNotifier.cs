using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace Blkring.Commands.Serve;

/// <summary>
/// What a service tells systemd (sd_notify(3)): datagrams to the socket of NOTIFY_SOCKET. Where there is none, nothing
/// is sent.
/// </summary>
internal sealed class SystemdNotifier : IDisposable
{
    private readonly Socket? _socket;
    private readonly UnixDomainSocketEndPoint? _address;

    /// <param name="address">NOTIFY_SOCKET: a path, or @ and the name of an abstract socket.</param>
    /// <param name="watchdogUsec">WATCHDOG_USEC</param>
    /// <param name="watchdogPid">WATCHDOG_PID: whom the watchdog is for; absent for everybody.</param>
    public SystemdNotifier(string? address, string? watchdogUsec, string? watchdogPid)
    {
        if (string.IsNullOrEmpty(address) || address[0] is not ('/' or '@'))
            return;
        _address = new UnixDomainSocketEndPoint(address[0] == '@' ? "\0" + address[1..] : address);
        _socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified) { Blocking = false };
        bool ours =
            string.IsNullOrEmpty(watchdogPid)
            || watchdogPid == Environment.ProcessId.ToString(CultureInfo.InvariantCulture);
        if (
            ours
            && long.TryParse(watchdogUsec, NumberStyles.None, CultureInfo.InvariantCulture, out long usec)
            && usec > 1
        )
            WatchdogPeriod = TimeSpan.FromMicroseconds(usec / 2.0);
    }

    public static SystemdNotifier FromEnvironment() =>
        new(
            Environment.GetEnvironmentVariable("NOTIFY_SOCKET"),
            Environment.GetEnvironmentVariable("WATCHDOG_USEC"),
            Environment.GetEnvironmentVariable("WATCHDOG_PID")
        );

    /// <summary>
    /// How often to send <see cref="Watchdog"/>: half of what systemd allows. Null when it does not watch.
    /// </summary>
    public TimeSpan? WatchdogPeriod { get; }

    public void Ready(string status) => Send($"READY=1\nSTATUS={status}");

    public void Status(string status) => Send($"STATUS={status}");

    public void Stopping(string status) => Send($"STOPPING=1\nSTATUS={status}");

    public void Watchdog() => Send("WATCHDOG=1");

    private void Send(string state)
    {
        if (_socket is null)
            return;
        try
        {
            _socket.SendTo(Encoding.UTF8.GetBytes(state), _address!);
        }
        catch (SocketException)
        {
            // systemd is away or busy: guests are served all the same.
        }
    }

    public void Dispose() => _socket?.Dispose();
}
