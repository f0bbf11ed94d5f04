using System.Net.Sockets;
using System.Text;
using Blkring.Commands;
using Blkring.Commands.Control;
using Blkring.Engine.Queues;
using Blkring.Settings;

namespace Blkring.Integration.Tests;

/// <summary>The control socket against clients that know the protocol and clients that do not.</summary>
public sealed class ControlServerTests : IAsyncDisposable
{
    private const string ListRequest = """{"command":"list"}""";

    private readonly TempDirectory _folder = new();
    private readonly RecordingControl _control = new();
    private readonly ControlServer _server;
    private readonly string _path;

    public ControlServerTests()
    {
        _path = _folder.PathOf("control.sock");
        _server = ControlServer.Start(_path, _control, TimeSpan.FromSeconds(1));
    }

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        _folder.Dispose();
    }

    [Fact]
    public void The_socket_is_for_its_owner_only() =>
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(_path));

    [Fact]
    public async Task The_socket_is_gone_once_the_server_has_ended_whatever_its_clients_are_at()
    {
        string path = _folder.PathOf("other.sock");
        ControlServer server = ControlServer.Start(path, _control, TimeSpan.FromSeconds(1));
        using Client silent = new(path),
            halfway = new(path);
        halfway.Socket.Send(Encoding.UTF8.GetBytes(ListRequest)[..4]);
        Assert.True(File.Exists(path));

        await server.DisposeAsync();

        Assert.False(File.Exists(path));
    }

    [Fact]
    public void Every_command_reaches_the_device_by_number_and_by_name()
    {
        foreach (
            ControlRequest request in (ControlRequest[])
                [
                    new()
                    {
                        Command = "resize",
                        Device = "7/xvda",
                        Bytes = 4096,
                    },
                    new() { Command = "resize", Device = "7/51712" },
                    new() { Command = "pause", Device = "7/xvda" },
                    new() { Command = "resume", Device = "7/xvda" },
                    new() { Command = "continue", Device = "7/xvda" },
                    new() { Command = "eject", Device = "7/xvda" },
                    new()
                    {
                        Command = "insert",
                        Device = "7/xvda",
                        Path = "/images/cd.iso",
                    },
                    new()
                    {
                        Command = "limit",
                        Device = "7/xvda",
                        Limits = new LimitsReport { BytesPerSecond = 4096, BytesBurst = 0 },
                        Keep = true,
                    },
                ]
        )
        {
            Assert.Null(ControlClient.Ask(_path, request).Error);
        }

        Assert.Equal(
            [
                "resize 7/51712 4096",
                "resize 7/51712 ",
                "pause 7/51712",
                "resume 7/51712",
                "continue 7/51712",
                "eject 7/51712",
                "insert 7/51712 /images/cd.iso",
                $"limit 7/51712 {new ThrottleLimits { Iops = 5, BytesPerSecond = 4096 }} True",
            ],
            _control.Calls
        );
    }

    [Fact]
    public void A_list_comes_back_as_it_was()
    {
        ControlResponse response = ControlClient.Ask(_path, new ControlRequest { Command = ControlRequest.List });
        DeviceReport device = Assert.Single(response.Devices!);
        Assert.Equal(_control.MappedGrants, response.MappedGrants);

        Assert.Equal(RecordingControl.Report with { Features = [] }, device with { Features = [] });
        Assert.Equal(RecordingControl.Report.Features, device.Features);
    }

    [Fact]
    public void What_the_device_refuses_the_person_reads()
    {
        UsageException refusal = Assert.Throws<UsageException>(() =>
            ControlClient.Ask(_path, new ControlRequest { Command = "pause", Device = "9/xvda" })
        );

        Assert.Equal("there is no device 9/51712", refusal.Message);
    }

    [Theory]
    [InlineData("", "one line of JSON")]
    [InlineData("list", "one line of JSON")]
    [InlineData("null", "one line of JSON")]
    [InlineData("[]", "one line of JSON")]
    [InlineData("{", "one line of JSON")]
    [InlineData("\u0000\u0001\ufffd", "one line of JSON")]
    [InlineData("""{"command":5}""", "one line of JSON")]
    [InlineData("""{"command":"list","extra":1}""", "one line of JSON")]
    [InlineData("""{"command":"resize","device":"7/xvda","bytes":1e99}""", "one line of JSON")]
    [InlineData("{}", "unknown command: give one of list")]
    [InlineData("""{"command":"format","device":"7/xvda"}""", "unknown command: give one of list")]
    [InlineData("""{"command":"pause"}""", " is not a device")]
    [InlineData("""{"command":"pause","device":"xvda"}""", " is not a device")]
    [InlineData("""{"command":"resize","device":"7/xvda","bytes":-1}""", "give a size")]
    [InlineData("""{"command":"insert","device":"7/xvda","path":"cd.iso"}""", "absolute path")]
    [InlineData("""{"command":"insert","device":"7/xvda"}""", "absolute path")]
    [InlineData("""{"command":"limit","device":"7/xvda"}""", "at least one limit")]
    [InlineData("""{"command":"limit","device":"7/xvda","limits":{}}""", "at least one limit")]
    [InlineData(
        """{"command":"limit","device":"7/xvda","limits":{"iops":5,"bytesBurst":-1}}""",
        "none may be negative"
    )]
    [InlineData("""{"command":"limit","device":"7/xvda","limits":{"iops":1e30}}""", "one line of JSON")]
    [InlineData("""{"command":"eject","device":"13/xvda"}""", "InvalidOperationException: a mistake of ours")]
    public void Garbage_is_answered_and_the_same_connection_goes_on(string garbage, string expected)
    {
        using Client client = new(_path);

        client.Send(garbage + "\n");
        Assert.Contains(expected, client.ReadLine(), StringComparison.Ordinal);
        client.Send(ListRequest + "\n");
        Assert.Contains("\"devices\":[{", client.ReadLine(), StringComparison.Ordinal);
    }

    [Fact]
    public void Requests_in_pieces_and_many_at_once_are_answered_in_order()
    {
        using Client client = new(_path);

        foreach (char c in ListRequest)
            client.Send($"{c}");
        client.Send("\n" + ListRequest + "\nnonsense\n");

        Assert.Contains("devices", client.ReadLine(), StringComparison.Ordinal);
        Assert.Contains("devices", client.ReadLine(), StringComparison.Ordinal);
        Assert.Contains("error", client.ReadLine(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_line_without_an_end_is_cut_off()
    {
        using Client client = new(_path);

        client.Send(new string('x', ControlRequest.MaxBytes));

        Assert.Contains("at most 8192 bytes", client.ReadLine(), StringComparison.Ordinal);
        Assert.Null(client.ReadLine());
        AssertServes();
    }

    [Fact]
    public void Clients_that_say_nothing_are_let_go_and_too_many_are_turned_away()
    {
        List<Client> silent = [.. Enumerable.Range(0, ControlServer.MaxClients).Select(_ => new Client(_path))];
        // The last client is connected when it is answered, and the others were connected before it.
        silent[^1].Send(ListRequest + "\n");
        Assert.Contains("devices", silent[^1].ReadLine(), StringComparison.Ordinal);

        using (Client surplus = new(_path))
            Assert.Contains("try again", surplus.ReadLine(), StringComparison.Ordinal);
        foreach (Client client in silent)
            Assert.Null(client.ReadLine());

        AssertServes();
        foreach (Client client in silent)
            client.Dispose();
    }

    [Fact]
    public void A_client_that_reads_no_answer_holds_nobody()
    {
        using Client deaf = new(_path);
        byte[] requests = Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat(ListRequest + "\n", 200_000)));
        deaf.Socket.SendTimeout = 100;
        // It does not read its answers, so its own requests pile up.
        Assert.Throws<SocketException>(() => deaf.Socket.Send(requests));

        AssertServes();
    }

    [Fact]
    public void A_client_that_leaves_in_the_middle_is_forgotten()
    {
        for (int i = 0; i < 3 * ControlServer.MaxClients; i++)
        {
            using Client client = new(_path);
            client.Send("{\"comm");
        }

        // This takes a moment: the server notices that a client left when it reads from it.
        Assert.True(
            SpinWait.SpinUntil(
                () =>
                {
                    using Client client = new(_path);
                    client.Send(ListRequest + "\n");
                    return client.ReadLine()?.Contains("devices", StringComparison.Ordinal) == true;
                },
                10_000
            )
        );
    }

    [Fact]
    public async Task A_socket_that_a_killed_daemon_left_is_replaced_and_one_that_answers_is_not()
    {
        string stale = _folder.PathOf("stale.sock");
        using (Socket dead = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            dead.Bind(new UnixDomainSocketEndPoint(stale));
            // Disposing the socket would remove the file, which a killed process leaves.
            File.Move(stale, stale + ".kept");
        }
        File.Move(stale + ".kept", stale);

        ControlServer server = ControlServer.Start(stale, _control);
        UsageException taken = Assert.Throws<UsageException>(() => ControlServer.Start(stale, _control));
        await server.DisposeAsync();

        Assert.Contains("another daemon answers", taken.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_in_the_way_is_not_removed()
    {
        string file = _folder.WriteImage("precious", 512);

        UsageException refusal = Assert.Throws<UsageException>(() => ControlServer.Start(file, _control));

        Assert.Contains("is not a control socket", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(512, new FileInfo(file).Length);
    }

    [Fact]
    public void A_folder_that_is_missing_is_told_in_one_line() =>
        Assert.Contains(
            "its folder does not exist; choose another with --control-socket",
            Assert
                .Throws<UsageException>(() => ControlServer.Start(_folder.PathOf("missing/x.sock"), _control))
                .Message,
            StringComparison.Ordinal
        );

    private void AssertServes() =>
        Assert.NotNull(ControlClient.Ask(_path, new ControlRequest { Command = ControlRequest.List }).Devices);

    private sealed class Client : IDisposable
    {
        private readonly StreamReader _reader;

        public Client(string path)
        {
            Socket.Connect(new UnixDomainSocketEndPoint(path));
            _reader = new StreamReader(new NetworkStream(Socket));
        }

        public Socket Socket { get; } =
            new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = 20_000 };

        public void Send(string text) => Socket.Send(Encoding.UTF8.GetBytes(text));

        /// <summary>Null at the end. The end may come as a reset if the server had not read everything.</summary>
        public string? ReadLine()
        {
            try
            {
                return _reader.ReadLine();
            }
            catch (IOException e)
                when (e.InnerException is SocketException { SocketErrorCode: SocketError.ConnectionReset })
            {
                return null;
            }
        }

        public void Dispose()
        {
            _reader.Dispose();
            Socket.Dispose();
        }
    }

    private sealed class RecordingControl : IDeviceControl
    {
        public MappedGrantsReport MappedGrants => new(1056, 262_144);

        public static readonly DeviceReport Report = new()
        {
            Device = "7/51712",
            Name = "xvda",
            Image = "/images/a \"b\" <c>.img",
            State = "connected",
            FrontendState = "connected",
            CapacityBytes = 1 << 30,
            Protocol = "x86_64-abi",
            Queues = 4,
            RingPages = 16,
            Features = ["flush", "discard"],
            Limits = new LimitsReport { Iops = 5 },
        };

        private readonly List<string> _calls = [];

        public string[] Calls
        {
            get
            {
                lock (_calls)
                    return [.. _calls];
            }
        }

        public IReadOnlyList<DeviceReport> List() => [Report];

        public void Resize(DeviceName device, long? bytes) => Take($"resize {device} {bytes}");

        public void Pause(DeviceName device) =>
            Take(
                device.Frontend.Value == 7
                    ? $"pause {device}"
                    : throw new ControlException($"there is no device {device}")
            );

        public void Resume(DeviceName device) => Take($"resume {device}");

        public void Continue(DeviceName device, bool failRequest) =>
            Take($"continue {device}{(failRequest ? " --fail-request" : "")}");

        public void Eject(DeviceName device) =>
            Take(
                device.Frontend.Value == 7
                    ? $"eject {device}"
                    : throw new InvalidOperationException("a mistake of ours")
            );

        public void Insert(DeviceName device, string path) => Take($"insert {device} {path}");

        public void Limit(DeviceName device, LimitsReport change, bool keep) =>
            Take($"limit {device} {change.ApplyTo(new ThrottleLimits { Iops = 5, BytesBurst = 6 })} {keep}");

        private void Take(string call)
        {
            lock (_calls)
                _calls.Add(call);
        }
    }
}
