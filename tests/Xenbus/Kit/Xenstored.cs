using System.Diagnostics;
using System.Runtime.InteropServices;
using Blkring.Engine.Xenbus;

namespace Blkring.Xenbus.Tests.Kit;

/// <summary>A real xenstored of its own for a class of tests, without a hypervisor.</summary>
public sealed partial class Xenstored : IDisposable
{
    private static readonly Lock s_environment = new();
    private static readonly Lazy<string> s_preload = new(CompilePreload);

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("blkring-xs-");
    private Process? _process;

    public Xenstored() => Start(SocketPath);

    public string SocketPath => Path.Combine(_folder.FullName, "socket");

    public int ProcessId => _process!.Id;

    /// <summary>A connection by way of libxenstore.</summary>
    public IXenstore Connect() => Connect(SocketPath);

    /// <summary>As if there were another path in XENSTORED_PATH.</summary>
    public static IXenstore Connect(string socketPath)
    {
        lock (s_environment)
        {
            // The runtime keeps an environment of its own, which a native library does not see.
            Setenv("XENSTORED_PATH", socketPath, 1);
            return XenstoreConnection.Open();
        }
    }

    /// <summary>Kills it and takes its socket away.</summary>
    public void Kill()
    {
        if (_process is null)
            return;
        _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
        _process = null;
        File.Delete(SocketPath);
    }

    /// <summary>
    /// A new one where the old one was, with a content that is there before anybody can connect to it.
    /// </summary>
    public void StartAgain(Action<IXenstore>? fill = null)
    {
        string hidden = Path.Combine(_folder.FullName, "hidden");
        Directory.CreateDirectory(hidden);
        string socket = Path.Combine(hidden, "socket");
        Start(socket);
        using (IXenstore store = Connect(socket))
            fill?.Invoke(store);
        File.Move(socket, SocketPath);
    }

    public void Dispose()
    {
        Kill();
        _folder.Delete(recursive: true);
    }

    private void Start(string socketPath)
    {
        string folder = Path.GetDirectoryName(socketPath)!;
        ProcessStartInfo start = new(FindDaemon(), ["-N"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["LD_PRELOAD"] = s_preload.Value;
        start.Environment["XENSTORED_RUNDIR"] = folder;
        start.Environment["XENSTORED_ROOTDIR"] = folder;
        _process = Process.Start(start)!;
        Wait.Until(() => _process.HasExited || CanConnect(socketPath), "xenstored listens");
        Assert.False(
            _process.HasExited,
            "xenstored ended at once: " + (_process.HasExited ? _process.StandardError.ReadToEnd() : "")
        );
    }

    private static bool CanConnect(string socketPath)
    {
        try
        {
            Connect(socketPath).Dispose();
            return true;
        }
        catch (XenstoreException)
        {
            return false;
        }
    }

    /// <summary>Installed, or unpacked by ./test (see there why it is not installed).</summary>
    private static string FindDaemon()
    {
        string cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } folder
            ? folder
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
        string[] roots = ["/usr", "/usr/local", Path.Combine(cache, "blkring", "xenstored", "usr")];
        string? daemon = roots.SelectMany(Candidates).FirstOrDefault(File.Exists);
        Assert.True(daemon is not null, "there is no xenstored: './test Xenbus' fetches it");
        return daemon;

        static IEnumerable<string> Candidates(string root) =>
            [
                // The one in Debian's sbin is a script that asks for a running Xen first.
                .. Directory.Exists(root + "/lib")
                    ? Directory.GetDirectories(root + "/lib", "xen-*").Select(xen => xen + "/bin/xenstored")
                    : [],
                root + "/libexec/xen/bin/xenstored",
            ];
    }

    private static string CompilePreload()
    {
        string output = Path.Combine(
            Directory.CreateTempSubdirectory("blkring-xs-preload-").FullName,
            "nohypervisor.so"
        );
        AppDomain.CurrentDomain.ProcessExit += (_, _) =>
            Directory.Delete(Path.GetDirectoryName(output)!, recursive: true);
        string source = Repository.PathOf("tests/Xenbus/Kit/nohypervisor.c");
        using Process gcc = Process.Start(
            new ProcessStartInfo("gcc", ["-shared", "-fPIC", "-O1", "-Wall", "-o", output, source, "-ldl", "-lpthread"])
            {
                RedirectStandardError = true,
            }
        )!;
        string errors = gcc.StandardError.ReadToEnd();
        gcc.WaitForExit();
        Assert.True(gcc.ExitCode == 0, errors);
        return output;
    }

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Setenv(string name, string value, int overwrite);
}
