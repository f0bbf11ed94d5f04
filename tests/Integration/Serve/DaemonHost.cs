using System.Net.Sockets;
using System.Text;
using Blkring.Engine.Xenbus;

namespace Blkring.Integration.Tests;

/// <summary>
/// A host for daemons: a real xenstored, and Xen's libraries, which open but know no guest. Devices can be attached and
/// detached; none can connect.
/// </summary>
public sealed class DaemonHost : IDisposable
{
    private readonly TempDirectory _folder = new();
    private readonly Xenstored _xenstored = new();

    public DaemonHost()
    {
        Directory.CreateDirectory(Libraries);
        string first = Path.Combine(Libraries, "libxenevtchn.so.1"),
            second = Path.Combine(Libraries, "libxengnttab.so.1");
        CCompiler.BuildLibrary(first, "tests/Engine/Xen/fakexen.c");
        File.Copy(first, second);
        Store = _xenstored.Connect();
        Store.Write("/local/domain/7/name", "guest");
    }

    public IXenstore Store { get; }

    public string Libraries => _folder.PathOf("lib");
    public string Runtime => _folder.PathOf("run");
    public string ControlSocket => Path.Combine(Runtime, "vbd3.sock");
    public string Folder => _folder.Path;

    public string NewImage(string name, int lengthBytes) => _folder.WriteImage(name, lengthBytes);

    internal BlkringProcess Start(params string[] arguments) =>
        BlkringProcess.StartWith(Environment(), _folder.Path, arguments);

    internal BlkringProcess StartWith((string, string)[] more, params string[] arguments) =>
        BlkringProcess.StartWith([.. Environment(), .. more], _folder.Path, arguments);

    internal BlkringProcess Run(params string[] arguments) =>
        BlkringProcess.RunWith(Environment(), _folder.Path, arguments);

    /// <summary>A daemon that is ready: its control socket answers.</summary>
    internal BlkringProcess StartDaemon(params (string, string)[] more) => Await(StartWith(more, "serve"));

    /// <summary>As systemd starts it: with a user of its own, for whom its runtime folder is made.</summary>
    internal BlkringProcess StartDaemonAsNobody(params string[] arguments)
    {
        Directory.CreateDirectory(Runtime);
        // The folders of the test are for everybody. Xenstored's socket is not: the opener gives access to it.
        foreach (string path in (string[])[Runtime, Folder, Libraries, Path.GetDirectoryName(_xenstored.SocketPath)!])
            File.SetUnixFileMode(path, (UnixFileMode)0b111_111_111);
        string[] user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        return Await(BlkringProcess.StartAs(user, Environment(), _folder.Path, arguments));
    }

    /// <summary>As its unit starts it: in the group of the daemon of <see cref="StartDaemonAsNobody"/>.</summary>
    internal BlkringProcess StartOpener(string socket)
    {
        string[] user = ["--regid=65534", "--clear-groups"];
        string[] arguments = ["opener", "--socket", socket, "--folder", Folder];
        BlkringProcess opener = BlkringProcess.StartAs(user, Environment(), _folder.Path, arguments);
        Wait.Until(() => opener.Errors.Contains("opener-started", StringComparison.Ordinal), "the opener listens");
        return opener;
    }

    private BlkringProcess Await(BlkringProcess daemon)
    {
        Wait.Until(() => daemon.HasExited || Run("list").ExitCode == 0, () => "the daemon answers: " + daemon.Errors);
        Assert.False(daemon.HasExited, daemon.Errors);
        return daemon;
    }

    public string? BackendState(string device, string directory = "vbd3") =>
        Store.Read($"/local/domain/0/backend/{directory}/{device}/state");

    public void Dispose()
    {
        Store.Dispose();
        _xenstored.Dispose();
        _folder.Dispose();
    }

    private (string, string)[] Environment() =>
        [("LD_LIBRARY_PATH", Libraries), ("XENSTORED_PATH", _xenstored.SocketPath), ("RUNTIME_DIRECTORY", Runtime)];
}

/// <summary>systemd's end of NOTIFY_SOCKET.</summary>
internal sealed class NotifySocket : IDisposable
{
    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified)
    {
        ReceiveTimeout = 30_000,
    };

    public NotifySocket(string path) => _socket.Bind(new UnixDomainSocketEndPoint(path));

    /// <summary>Takes messages until one begins with the text.</summary>
    public string WaitFor(string beginning)
    {
        byte[] buffer = new byte[512];
        while (true)
        {
            string message = Encoding.UTF8.GetString(buffer, 0, _socket.Receive(buffer));
            if (message.StartsWith(beginning, StringComparison.Ordinal))
                return message;
        }
    }

    public void Dispose() => _socket.Dispose();
}
