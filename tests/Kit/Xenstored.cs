using System.Diagnostics;
using System.Runtime.InteropServices;
using Blkring.Engine.Xenbus;

namespace Blkring.Tests.Kit;

/// <summary>A real xenstored that needs no hypervisor, one per class of tests.</summary>
public sealed partial class Xenstored : IDisposable
{
    private static readonly Lock s_environment = new();
    private static readonly Lazy<string> s_preload = new(CompilePreload);

    private readonly TempDirectory _directory = new();
    private Process? _process;

    public Xenstored() => Start(SocketPath);

    public string SocketPath => _directory.PathOf("socket");

    public int ProcessId => _process!.Id;

    /// <summary>A connection made by libxenstore.</summary>
    public IXenstore Connect() => Connect(SocketPath);

    /// <summary>Connects to the socket that XENSTORED_PATH would name.</summary>
    public static IXenstore Connect(string socketPath)
    {
        lock (s_environment)
        {
            // The runtime keeps its own copy of the environment, which a native library does not see.
            Setenv("XENSTORED_PATH", socketPath, 1);
            return XenstoreConnection.Open();
        }
    }

    /// <summary>Kills the daemon and deletes its socket.</summary>
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
    /// Starts a new daemon at the same socket. Its content is in place before anything can connect.
    /// </summary>
    public void StartAgain(Action<IXenstore>? fill = null)
    {
        string hidden = _directory.PathOf("hidden");
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
        _directory.Dispose();
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
        if (_process.HasExited)
            throw new InvalidOperationException("xenstored ended at once: " + _process.StandardError.ReadToEnd());
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
        return roots.SelectMany(Candidates).FirstOrDefault(File.Exists)
            ?? throw new InvalidOperationException("there is no xenstored: './test Xenbus' fetches it");

        static IEnumerable<string> Candidates(string root) =>
            [
                // Debian's sbin/xenstored is a script that first asks for a running Xen.
                .. Directory.Exists(root + "/lib")
                    ? Directory.GetDirectories(root + "/lib", "xen-*").Select(xen => xen + "/bin/xenstored")
                    : [],
                root + "/libexec/xen/bin/xenstored",
            ];
    }

    private static string CompilePreload()
    {
        TempDirectory directory = new();
        AppDomain.CurrentDomain.ProcessExit += (_, _) => directory.Dispose();
        string library = directory.PathOf("nohypervisor.so");
        CCompiler.BuildLibrary(library, "tests/Kit/nohypervisor.c", "-ldl", "-lpthread");
        return library;
    }

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Setenv(string name, string value, int overwrite);
}
