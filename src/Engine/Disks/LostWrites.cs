using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// Whether writes of an image that were answered may be lost: a flush has failed, or a write through the page cache.
/// The kernel reports such an error once per open file and then counts the pages as clean, so a later flush that
/// succeeds says nothing about them. Until an operator clears this, no flush of the image succeeds.
/// </summary>
/// <remarks>
/// One for all open disks of an image in this process. Kept in a mapped file, it is there for the next daemon from the
/// moment in which it is set: before the guest has the answer. Safe: the mapping lives until <see cref="Dispose"/>,
/// after the last queue.
/// </remarks>
public sealed unsafe class LostWrites : IDisposable
{
    // rw for its owner.
    private const uint FileMode = 0x180;
    private const int FileBytes = 4096;

    private readonly Lock _lock = new();
    private MappedMemory? _kept;
    private string? _path;
    private int _errno;

    /// <summary>The first error, a positive errno; 0 if nothing is lost. From any thread.</summary>
    public int Errno => Volatile.Read(ref _errno);

    /// <summary>Records an error; the first one stays. From any thread, without waiting.</summary>
    /// <param name="errno">Positive.</param>
    public void Note(int errno)
    {
        // The file first: who sees the error must find it kept. And afterwards, if it was not there yet.
        NoteInFile(errno);
        Interlocked.CompareExchange(ref _errno, errno, 0);
        NoteInFile(errno);
    }

    private void NoteInFile(int errno)
    {
        if (Volatile.Read(ref _kept) is { } kept)
            Interlocked.CompareExchange(ref *(int*)kept.Address, errno, 0);
    }

    /// <summary>An operator accepts the loss: what is flushed from now on is judged anew.</summary>
    public void Clear()
    {
        lock (_lock)
        {
            if (_kept is { } kept)
                Volatile.Write(ref *(int*)kept.Address, 0);
            Volatile.Write(ref _errno, 0);
        }
    }

    /// <summary>Keeps it in a file, and takes on what an earlier daemon has left there.</summary>
    /// <param name="path">In a folder of a memory file system that only this user can change.</param>
    /// <returns>0, or a positive errno.</returns>
    internal int KeepIn(string path)
    {
        lock (_lock)
        {
            if (_kept is not null)
                return 0;
            int fd = Libc.Open(path, Libc.O_RDWR | Libc.O_CREAT, FileMode);
            if (fd < 0)
                return -fd;
            using FileDescriptor file = new(fd);
            // Allocated now: a page without room, when it is first written, would be a SIGBUS.
            int error = Libc.Fallocate(fd, 0, 0, FileBytes);
            if (error is 0 or -Interop.Errno.EOPNOTSUPP)
                error = Libc.Ftruncate(fd, FileBytes);
            if (error < 0)
                return -error;
            MappedMemory kept = MappedMemory.FromFile(fd, 0, FileBytes, writable: true, shared: true);
            _path = path;
            Volatile.Write(ref _kept, kept);
            // Either may know more; an error that is noted meanwhile reaches both.
            Interlocked.CompareExchange(ref *(int*)kept.Address, Errno, 0);
            Interlocked.CompareExchange(ref _errno, Volatile.Read(ref *(int*)kept.Address), 0);
            return 0;
        }
    }

    /// <summary>Deletes the file if nothing is lost.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            if (_kept is not { } kept)
                return;
            if (Errno == 0)
                File.Delete(_path!);
            _kept = null;
            kept.Dispose();
        }
    }
}
