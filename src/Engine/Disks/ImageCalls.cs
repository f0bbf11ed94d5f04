using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// The system calls, beside those of the <see cref="IFileOpener"/>, that decide whether and how an image is served. A
/// test answers them in the kernel's place, with errors that no file here gives.
/// </summary>
internal unsafe class ImageCalls
{
    public static ImageCalls Kernel { get; } = new();

    /// <summary>statx(2): the type, the mode and a device's number; 0 or -errno.</summary>
    public virtual int Inspect(FileDescriptor file, out statx status) =>
        Libc.Fstatx(file.Value, Libc.STATX_TYPE | Libc.STATX_MODE, out status);

    /// <summary>A block device's length by BLKGETSIZE64: bytes, or -errno.</summary>
    public virtual long MeasureBlockDevice(FileDescriptor file)
    {
        ulong length = 0;
        int error = Libc.Ioctl(file.Value, Libc.BLKGETSIZE64, &length);
        return error < 0 ? error : (long)length;
    }

    /// <summary>flock(2): 0 or -errno.</summary>
    public virtual int Lock(FileDescriptor file, int operation) => Libc.Flock(file.Value, operation);

    /// <summary><see cref="KillableRead.Read"/>: bytes, or -errno.</summary>
    public virtual nint Read(FileDescriptor file, byte* buffer, int length, long offset) =>
        KillableRead.Read(file, buffer, length, offset);
}
