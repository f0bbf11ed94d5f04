using Blkring.Interop;

namespace Blkring.Loopback;

/// <summary>
/// One end of a connection between the processes of a loopback frontend and its backend: an AF_UNIX SOCK_SEQPACKET
/// socket, which keeps messages whole and in order and passes descriptors. Control plane: it throws, and no call waits
/// longer than its timeout.
/// </summary>
public sealed unsafe class LoopbackSocket : IDisposable
{
    /// <summary>The length of the longest message in bytes.</summary>
    public const int MaxMessageBytes = 64 * 1024;

    // Non-blocking: a peer that does not read fills its queue, which then causes an error instead of blocking a thread.
    private const int SocketType = Libc.SOCK_SEQPACKET | Libc.SOCK_NONBLOCK;

    private readonly FileDescriptor _socket;

    private LoopbackSocket(int fd) => _socket = new FileDescriptor(fd);

    /// <summary>Makes two connected ends, for one process.</summary>
    public static (LoopbackSocket First, LoopbackSocket Second) CreatePair()
    {
        int error = Libc.Socketpair(SocketType, out int first, out int second);
        return error < 0
            ? throw Errno.ToException("socketpair", error)
            : (new LoopbackSocket(first), new LoopbackSocket(second));
    }

    /// <summary>Listens at a path that does not exist yet.</summary>
    /// <exception cref="IOException">Including ENAMETOOLONG: a socket's path has at most 107 bytes.</exception>
    public static LoopbackSocket Listen(string path)
    {
        LoopbackSocket listener = Open();
        int error = Libc.Bind(listener._socket.Value, path);
        if (error >= 0)
            error = Libc.Listen(listener._socket.Value, 1);
        if (error >= 0)
            return listener;
        listener.Dispose();
        throw Errno.ToException("listen at " + path, error);
    }

    public static LoopbackSocket Connect(string path)
    {
        LoopbackSocket connection = Open();
        int error = Libc.Connect(connection._socket.Value, path);
        if (error >= 0)
            return connection;
        connection.Dispose();
        throw Errno.ToException("connect to " + path, error);
    }

    private static LoopbackSocket Open()
    {
        int fd = Libc.Socket(SocketType);
        return fd < 0 ? throw Errno.ToException("socket", fd) : new LoopbackSocket(fd);
    }

    /// <summary>Accepts the next peer of a listening socket; null if none came in time.</summary>
    public LoopbackSocket? TryAccept(int timeoutMs)
    {
        if (!WaitReadable(timeoutMs))
            return null;
        int fd = Libc.Accept(_socket.Value, Libc.SOCK_NONBLOCK);
        if (fd == -Errno.EAGAIN)
            return null;
        return fd < 0 ? throw Errno.ToException("accept", fd) : new LoopbackSocket(fd);
    }

    /// <summary>Sends one message of at least one byte; the sender keeps its descriptors.</summary>
    /// <exception cref="IOException">EPIPE if the peer has closed, EAGAIN if it does not read.</exception>
    public void Send(ReadOnlySpan<byte> message, params ReadOnlySpan<int> descriptors) =>
        DescriptorPassing.Send(_socket.Value, message, descriptors);

    /// <summary>Takes the next message; descriptors that came with it are closed.</summary>
    /// <returns>Its length in bytes; 0 if the peer has closed.</returns>
    /// <exception cref="TimeoutException">None came in time.</exception>
    /// <exception cref="IOException">The connection failed, or the message does not fit.</exception>
    public int Receive(Span<byte> message, int timeoutMs) => Receive(message, [], timeoutMs, out _);

    /// <summary>
    /// The same with descriptors, which belong to the caller: they are written from the start of the span.
    /// </summary>
    public int Receive(Span<byte> message, Span<FileDescriptor?> descriptors, int timeoutMs, out int count)
    {
        if (!WaitReadable(timeoutMs))
            throw new TimeoutException($"nothing came for {timeoutMs} ms");
        return DescriptorPassing.Receive(_socket.Value, message, descriptors, out count);
    }

    /// <summary>Waits for a message or the end of the connection.</summary>
    /// <returns>False if neither came in time.</returns>
    public bool WaitReadable(int timeoutMs)
    {
        long end = Environment.TickCount64 + timeoutMs;
        while (true)
        {
            pollfd entry = new() { fd = _socket.Value, events = Libc.POLLIN };
            int left = timeoutMs < 0 ? -1 : (int)Math.Max(0, end - Environment.TickCount64);
            int ready = Libc.Poll(&entry, 1, left);
            if (ready != -Errno.EINTR)
                return ready > 0;
        }
    }

    public void Dispose() => _socket.Dispose();
}
