using System.CommandLine;
using System.Globalization;
using System.Net.Sockets;

namespace Blkring.Commands.Opener;

/// <summary><c>blkring opener</c>: the small privileged process beside a daemon without privileges.</summary>
internal static class OpenerCommand
{
    /// <summary>The first descriptor that systemd passes (sd_listen_fds(3)).</summary>
    private const int FirstPassed = 3;

    private static readonly Option<string?> s_socket = new("--socket")
    {
        Description = "Listen on this path. Only its owner and group can connect. [default: the socket of systemd]",
        HelpName = "PATH",
    };

    private static readonly Option<string[]> s_folders = new("--folder")
    {
        Description =
            "Open regular files and block devices below this folder; may be given several times. "
            + $"[default: the folders in ${FoldersVariable}, separated by ':']",
        HelpName = "PATH",
    };

    private static readonly Option<bool> s_mayBeInUse = new("--allow-in-use")
    {
        Description = "Also open block devices for writing that this host uses: mounted, part of a volume, or swap.",
    };

    private const string FoldersVariable = "BLKRING_IMAGE_FOLDERS";

    public static Command Create()
    {
        Command command = new(
            "opener",
            """
            Opens images for a daemon that runs without privileges (serve --opener), and passes their descriptors.

            It opens nothing outside of its folders, and creates and changes no file. It can be stopped and started at
            any time: disks that are open stay open. On SIGTERM it ends at once.
            """
        )
        {
            s_socket,
            s_folders,
            s_mayBeInUse,
        };
        command.SetAction(Run);
        return command;
    }

    private static int Run(ParseResult parsed)
    {
        string[] folders = parsed.GetValue(s_folders) is { Length: > 0 } given ? given : FromEnvironment();
        if (folders.Length == 0)
            throw new UsageException($"name the folders with images: --folder PATH, or {FoldersVariable}=PATH:PATH");
        if (folders.FirstOrDefault(folder => folder is not ['/', ..]) is { } relative)
            throw new UsageException($"--folder {relative}: give an absolute path");
        Socket listener = parsed.GetValue(s_socket) is { } path ? Listen(path) : TakePassed();
        using OpenerServer server = new(
            listener,
            new OpenerPolicy(folders, parsed.GetValue(s_mayBeInUse)),
            XenAccess.OfProcess()
        );
        Console.Error.WriteLine($"opener-started: opens images in {string.Join(", ", folders)}");
        server.Run();
        return ExitCode.Ok;
    }

    private static string[] FromEnvironment() =>
        (Environment.GetEnvironmentVariable(FoldersVariable) ?? "").Split(
            ':',
            StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries
        );

    private static Socket TakePassed() =>
        Environment.GetEnvironmentVariable("LISTEN_FDS") == "1"
        && Environment.GetEnvironmentVariable("LISTEN_PID")
            == Environment.ProcessId.ToString(CultureInfo.InvariantCulture)
            ? new Socket(new SafeSocketHandle(FirstPassed, ownsHandle: true))
            : throw new UsageException("systemd passed no socket: name one with --socket PATH");

    private static Socket Listen(string path)
    {
        Socket listener = new(AddressFamily.Unix, SocketType.Seqpacket, ProtocolType.Unspecified);
        try
        {
            // The one that a killed opener left. A second opener would take the name from the first one.
            File.Delete(path);
            listener.Bind(new UnixDomainSocketEndPoint(path));
            // Before Listen no client can connect, so none does before the mode is set.
            File.SetUnixFileMode(
                path,
                UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.GroupWrite
            );
            listener.Listen(OpenerServer.MaxClients);
            return listener;
        }
        catch (Exception e) when (e is SocketException or IOException or UnauthorizedAccessException)
        {
            listener.Dispose();
            throw new UsageException($"the socket {path} cannot be created: {e.Message}; name another with --socket");
        }
    }
}
