using System.Buffers.Text;
using System.Globalization;
using Blkring.Interop;
using Blkring.Settings;
using Microsoft.Win32.SafeHandles;

namespace Blkring.Commands.Serve;

/// <summary>
/// Keeps two daemons from serving the same device: a lock on the backend directory that the kernel releases when the
/// process ends. A daemon for one domain takes a shared lock on the directory and an exclusive one on its domain.
/// </summary>
internal sealed class DirectoryLock : IDisposable
{
    private readonly List<FileStream> _files = [];

    /// <exception cref="UsageException">Another daemon has the lock, or the folder cannot be written.</exception>
    public DirectoryLock(string folder, string backend, int? frontend)
    {
        try
        {
            Directory.CreateDirectory(folder);
            string whole = Path.Combine(folder, backend + ".lock");
            if (frontend is null)
            {
                _files.Add(Open(whole, FileAccess.ReadWrite, FileShare.None, backend, frontend));
            }
            else
            {
                // FileShare.Read with FileAccess.Read is a shared flock(2), None an exclusive one.
                _files.Add(Open(whole, FileAccess.Read, FileShare.Read, backend, null));
                _files.Add(
                    Open(
                        Path.Combine(folder, RuntimeFolder.NameOf(backend, frontend) + ".lock"),
                        FileAccess.ReadWrite,
                        FileShare.None,
                        backend,
                        frontend
                    )
                );
            }
            WriteProcess(_files[^1]);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Dispose();
            throw new UsageException(
                $"{folder} cannot be written: {e.Message}; run this as root, or set RUNTIME_DIRECTORY"
            );
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    private static FileStream Open(string path, FileAccess access, FileShare share, string backend, int? frontend)
    {
        try
        {
            return new FileStream(path, FileMode.OpenOrCreate, access, share);
        }
        // EWOULDBLOCK of flock(2), as the runtime reports it.
        catch (IOException e)
            when (e is not (DirectoryNotFoundException or PathTooLongException or FileNotFoundException)
                && File.Exists(path)
            )
        {
            string whose = frontend is int domain ? $"domain {domain} of {backend}" : backend;
            throw new UsageException(
                $"another daemon{ProcessIn(path)} serves {whose}: stop it, or choose with --backend or --frontend"
            );
        }
    }

    private static void WriteProcess(FileStream file)
    {
        file.SetLength(0);
        file.Write(
            System.Text.Encoding.ASCII.GetBytes(Environment.ProcessId.ToString(CultureInfo.InvariantCulture) + "\n")
        );
        file.Flush();
    }

    // Opened by the system call, because FileStream would take another lock.
    private static string ProcessIn(string path)
    {
        using SafeFileHandle file = new(Libc.Open(path, Libc.O_RDONLY), ownsHandle: true);
        Span<byte> text = stackalloc byte[16];
        int length = file.IsInvalid ? 0 : RandomAccess.Read(file, text, 0);
        return length > 0 && Utf8Parser.TryParse(text[..length], out int process, out _) ? $" (process {process})" : "";
    }

    public void Dispose()
    {
        foreach (FileStream file in _files)
            file.Dispose();
        _files.Clear();
    }
}
