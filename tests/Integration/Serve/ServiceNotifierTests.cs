using System.Net.Sockets;
using System.Text;
using Blkring.Commands.Serve;
using Microsoft.Extensions.Hosting.Systemd;

namespace Blkring.Integration.Tests;

/// <summary>What systemd is told, on a datagram socket such as it has.</summary>
public sealed class ServiceNotifierTests : IDisposable
{
    private readonly TempDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Every_word_arrives_on_a_path_and_on_an_abstract_socket(bool isAbstract)
    {
        string name = _folder.PathOf("notify");
        using Socket systemd = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified)
        {
            ReceiveTimeout = 5000,
        };
        systemd.Bind(new UnixDomainSocketEndPoint(isAbstract ? "\0" + name : name));
        ServiceNotifier notifier = Create(isAbstract ? "@" + name : name, null, null);

        notifier.Ready("serving vbd3: 0 devices");
        notifier.Status("serving vbd3: 1 device");
        notifier.Watchdog();
        notifier.Stopping("draining vbd3");

        Assert.Equal("READY=1\nSTATUS=serving vbd3: 0 devices", Receive(systemd));
        Assert.Equal("STATUS=serving vbd3: 1 device", Receive(systemd));
        Assert.Equal("WATCHDOG=1", Receive(systemd));
        Assert.Equal("STOPPING=1\nSTATUS=draining vbd3", Receive(systemd));
    }

    [Theory]
    [InlineData("30000000", null, 15_000.0)]
    [InlineData("1000", null, 0.5)]
    [InlineData("30000000", "1", null)]
    [InlineData("", null, null)]
    [InlineData("0", null, null)]
    [InlineData("-5", null, null)]
    [InlineData("soon", null, null)]
    [InlineData(null, null, null)]
    public void The_watchdog_is_fed_twice_as_often_as_it_must_be_if_it_is_ours(
        string? usec,
        string? pid,
        double? periodMs
    )
    {
        ServiceNotifier notifier = Create(_folder.PathOf("notify"), usec, pid);

        Assert.Equal(periodMs, notifier.WatchdogPeriod?.TotalMilliseconds);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("relative")]
    [InlineData("vsock:2:1234")]
    [InlineData("/nobody/listens/here")]
    public void Nobody_to_tell_is_no_error(string? address)
    {
        ServiceNotifier notifier = Create(address, "30000000", null);

        Assert.Null(Record.Exception(() => notifier.Ready("serving")));
    }

    /// <param name="address">The value of NOTIFY_SOCKET, which the constructor removes again.</param>
    private static ServiceNotifier Create(string? address, string? watchdogUsec, string? watchdogPid)
    {
        Environment.SetEnvironmentVariable("NOTIFY_SOCKET", address);
        return new ServiceNotifier(new SystemdNotifier(), watchdogUsec, watchdogPid);
    }

    private static string Receive(Socket socket)
    {
        byte[] buffer = new byte[512];
        return Encoding.UTF8.GetString(buffer, 0, socket.Receive(buffer));
    }
}
