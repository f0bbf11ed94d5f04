using System.Collections.Concurrent;
using Blkring.Engine.Disks;
using Blkring.Interop;

namespace Blkring.Tests.Kit;

/// <summary>
/// The kernel, but for the errors that a test gives it: a file system's or a block device's that is not there.
/// </summary>
internal sealed unsafe class ScriptedCalls : ImageCalls, IFileOpener
{
    private readonly ConcurrentQueue<int> _opened = new();

    /// <summary>Answered to each flock(2) that locks, the last one for ever; without any, the kernel's.</summary>
    public ConcurrentQueue<int> LockErrors { get; } = new();

    /// <summary>A positive errno for each O_EXCL open(2), the last one for ever; without any, the kernel's.</summary>
    public ConcurrentQueue<int> ClaimErrors { get; } = new();

    /// <summary>A positive errno for open(2) with O_DIRECT; 0: the kernel's answer.</summary>
    public int DirectOpenError { get; set; }

    /// <summary>A positive errno for the read that tries direct I/O; 0: the kernel's answer.</summary>
    public int DirectReadError { get; set; }

    /// <summary>Files are block devices.</summary>
    public bool BlockDevices { get; set; }

    public int Locks { get; private set; }

    /// <summary>The flags of each open(2), in order.</summary>
    public IReadOnlyList<int> Opened => [.. _opened];

    public int Claims => Opened.Count(flags => (flags & Libc.O_EXCL) != 0);

    public override int Inspect(FileDescriptor file, out statx status)
    {
        int result = base.Inspect(file, out status);
        if (BlockDevices)
            status.stx_mode = (ushort)((status.stx_mode & ~Libc.S_IFMT) | Libc.S_IFBLK);
        return result;
    }

    public int TryOpen(string path, int flags, out FileDescriptor? file)
    {
        _opened.Enqueue(flags);
        int error =
            (flags & Libc.O_EXCL) != 0 ? Next(ClaimErrors)
            : (flags & Libc.O_DIRECT) != 0 ? DirectOpenError
            : 0;
        file = null;
        return error != 0 ? error : OwnOpener.Instance.TryOpen(path, flags, out file);
    }

    public override long MeasureBlockDevice(FileDescriptor file) =>
        BlockDevices && Libc.Fstatx(file.Value, Libc.STATX_SIZE, out statx status) == 0
            ? (long)status.stx_size
            : base.MeasureBlockDevice(file);

    public override int Lock(FileDescriptor file, int operation)
    {
        if ((operation & Libc.LOCK_UN) != 0)
            return base.Lock(file, operation);
        Locks++;
        int error = Next(LockErrors);
        return error != 0 ? -error : base.Lock(file, operation);
    }

    public override nint Read(FileDescriptor file, byte* buffer, int length, long offset) =>
        DirectReadError != 0 ? -DirectReadError : base.Read(file, buffer, length, offset);

    private static int Next(ConcurrentQueue<int> errors)
    {
        if (errors.Count > 1 && errors.TryDequeue(out int next))
            return next;
        return errors.TryPeek(out int last) ? last : 0;
    }
}
