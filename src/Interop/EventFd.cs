namespace Blkring.Interop;

/// <summary>An eventfd(2): any thread signals it, one consumes. It can be polled, also through io_uring.</summary>
public sealed unsafe class EventFd : IDisposable
{
    readonly FileDescriptor _fd;

    /// <param name="blocking">
    /// Whether it is for waits with IORING_OP_READ: on a non-blocking descriptor, io_uring answers EAGAIN at once
    /// instead of waiting for the signal.
    /// </param>
    /// <exception cref="IOException">EMFILE, ENFILE, ENOMEM.</exception>
    public EventFd(bool blocking = false)
    {
        var fd = Libc.Eventfd(0, blocking ? 0 : Libc.EFD_NONBLOCK);
        _fd = fd >= 0 ? new FileDescriptor(fd) : throw Errno.ToException("eventfd", fd);
    }

    /// <summary>The descriptor, for poll and io_uring; -1 once disposed.</summary>
    public int Value => _fd.Value;

    /// <summary>
    /// Signals it. 0 or -errno: -EAGAIN if the counter is full, which means that the consumer is signalled anyway;
    /// -EBADF once disposed.
    /// </summary>
    public int Signal()
    {
        ulong one = 1;
        var result = Libc.Write(_fd.Value, (byte*)&one, sizeof(ulong));
        return result < 0 ? (int)result : 0;
    }

    /// <summary>
    /// Consumes all signals so far. False if there was none; a blocking eventfd waits for one instead.
    /// </summary>
    public bool TryConsume()
    {
        ulong count = 0;
        return Libc.Read(_fd.Value, (byte*)&count, sizeof(ulong)) == sizeof(ulong);
    }

    public void Dispose() => _fd.Dispose();
}
