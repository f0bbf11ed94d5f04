using System.Runtime.InteropServices;

namespace Blkring.Interop;

/// <summary>
/// A file descriptor with an owner: closed once, by <see cref="SafeHandle.Dispose()"/> or, if forgotten, by the
/// finalizer.
/// </summary>
public sealed class FileDescriptor : SafeHandle
{
    /// <param name="fd">The descriptor; negative is an invalid handle that closes nothing.</param>
    /// <param name="owns">False for a descriptor that someone else closes.</param>
    public FileDescriptor(int fd, bool owns = true)
        : base(invalidHandleValue: -1, owns) => SetHandle(fd);

    /// <summary>
    /// The number for native calls, while this object is held; -1 once closed, so that a late user meets EBADF and not
    /// another file.
    /// </summary>
    public int Value => IsClosed ? -1 : (int)handle;

    public override bool IsInvalid => handle < 0;

    // EINTR too means closed on Linux (close(2)): a retry could close a descriptor that another thread has just opened.
    protected override bool ReleaseHandle() => Libc.Close((int)handle) is 0 or -Errno.EINTR;
}
