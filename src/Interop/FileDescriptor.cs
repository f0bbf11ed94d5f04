using System.Runtime.InteropServices;

namespace Blkring.Interop;

/// <summary>
/// A file descriptor with an owner, closed once: by <see cref="SafeHandle.Dispose()"/> or else by the finalizer.
/// </summary>
public sealed class FileDescriptor : SafeHandle
{
    /// <param name="fd">The descriptor; a negative one makes an invalid handle that closes nothing.</param>
    /// <param name="owns">False for a descriptor with another owner.</param>
    public FileDescriptor(int fd, bool owns = true)
        : base(invalidHandleValue: -1, owns) => SetHandle(fd);

    /// <summary>
    /// The number, for native calls while this object is held. -1 once closed, so that a late call fails with EBADF
    /// instead of reaching another file.
    /// </summary>
    public int Value => IsClosed ? -1 : (int)handle;

    public override bool IsInvalid => handle < 0;

    // On Linux, the descriptor is closed even after EINTR (close(2)): a retry could close one that another thread has
    // just opened.
    protected override bool ReleaseHandle() => Libc.Close((int)handle) is 0 or -Errno.EINTR;
}
