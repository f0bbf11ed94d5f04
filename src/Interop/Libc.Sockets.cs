using System.Runtime.InteropServices;

namespace Blkring.Interop;

/// <summary>struct pollfd (sys/poll.h): 8 bytes.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
public struct pollfd
{
    [FieldOffset(0)]
    public int fd;

    [FieldOffset(4)]
    public short events;

    [FieldOffset(6)]
    public short revents;
}

/// <summary>struct timespec (bits/types/struct_timespec.h) of a 64-bit Linux: 16 bytes.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
public struct timespec
{
    [FieldOffset(0)]
    public long tv_sec;

    [FieldOffset(8)]
    public long tv_nsec;
}

/// <summary>struct msghdr (bits/socket.h) of a 64-bit Linux: 56 bytes.</summary>
[StructLayout(LayoutKind.Explicit, Size = 56)]
public unsafe struct msghdr
{
    [FieldOffset(0)]
    public void* msg_name;

    [FieldOffset(8)]
    public uint msg_namelen;

    [FieldOffset(16)]
    public iovec* msg_iov;

    [FieldOffset(24)]
    public nuint msg_iovlen;

    [FieldOffset(32)]
    public void* msg_control;

    [FieldOffset(40)]
    public nuint msg_controllen;

    [FieldOffset(48)]
    public int msg_flags;
}

/// <summary>
/// struct cmsghdr (bits/socket.h) of a 64-bit Linux: 16 bytes, then the data; each message starts at a multiple of 8.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
public struct cmsghdr
{
    [FieldOffset(0)]
    public nuint cmsg_len;

    [FieldOffset(8)]
    public int cmsg_level;

    [FieldOffset(12)]
    public int cmsg_type;
}

/// <summary>struct sockaddr_un (sys/un.h): 110 bytes, the path zero-terminated within 108.</summary>
[StructLayout(LayoutKind.Explicit, Size = 110)]
public unsafe struct sockaddr_un
{
    [FieldOffset(0)]
    public ushort sun_family;

    [FieldOffset(2)]
    public fixed byte sun_path[108];
}

public static unsafe partial class Libc
{
    // bits/socket.h, bits/socket_type.h
    public const int AF_UNIX = 1;
    public const int SOCK_STREAM = 1;
    public const int SOCK_SEQPACKET = 5;
    public const int SOCK_NONBLOCK = 0x800;
    public const int SOCK_CLOEXEC = 0x80000;
    public const int SOL_SOCKET = 1;
    public const int SCM_RIGHTS = 1;
    public const int MSG_CTRUNC = 0x08;
    public const int MSG_TRUNC = 0x20;
    public const int MSG_DONTWAIT = 0x40;
    public const int MSG_NOSIGNAL = 0x4000;
    public const int MSG_CMSG_CLOEXEC = 0x40000000;

    /// <summary>
    /// Descriptors in one message (net/scm.h, not exported: unix(7)); more is ETOOMANYREFS or EINVAL.
    /// </summary>
    internal const int ScmMaxDescriptors = 253;

    // bits/poll.h
    public const short POLLIN = 0x1;
    public const short POLLOUT = 0x4;
    public const short POLLERR = 0x8;
    public const short POLLHUP = 0x10;
    public const short POLLNVAL = 0x20;

    // bits/eventfd.h
    public const int EFD_SEMAPHORE = 1;
    public const int EFD_NONBLOCK = 0x800;
    public const int EFD_CLOEXEC = 0x80000;

    [LibraryImport(Library, SetLastError = true)]
    private static partial int socket(int domain, int type, int protocol);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int socketpair(int domain, int type, int protocol, int* sv);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int bind(int sockfd, sockaddr_un* addr, uint addrlen);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int listen(int sockfd, int backlog);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int connect(int sockfd, sockaddr_un* addr, uint addrlen);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int accept4(int sockfd, sockaddr_un* addr, uint* addrlen, int flags);

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint sendmsg(int sockfd, msghdr* msg, int flags);

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint recvmsg(int sockfd, msghdr* msg, int flags);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int poll(pollfd* fds, nuint nfds, int timeout);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int ppoll(pollfd* fds, nuint nfds, timespec* tmo_p, void* sigmask);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int eventfd(uint initval, int flags);

    /// <summary>socket(2), AF_UNIX, with SOCK_CLOEXEC always: a descriptor or -errno.</summary>
    public static int Socket(int type) => Result(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));

    /// <summary>socketpair(2), AF_UNIX, with SOCK_CLOEXEC always: 0 or -errno.</summary>
    public static int Socketpair(int type, out int first, out int second)
    {
        var pair = stackalloc int[2] { -1, -1 };
        var result = Result(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair));
        (first, second) = (pair[0], pair[1]);
        return result;
    }

    /// <summary>bind(2) to a path: 0 or -errno; -ENAMETOOLONG past 107 bytes.</summary>
    public static int Bind(int fd, string path) =>
        TryUnixAddress(path, out var address)
            ? Result(bind(fd, &address, (uint)sizeof(sockaddr_un)))
            : -Errno.ENAMETOOLONG;

    /// <summary>listen(2): 0 or -errno.</summary>
    public static int Listen(int fd, int backlog) => Result(listen(fd, backlog));

    /// <summary>connect(2) to a path: 0 or -errno; -ENAMETOOLONG past 107 bytes.</summary>
    public static int Connect(int fd, string path) =>
        TryUnixAddress(path, out var address)
            ? Result(connect(fd, &address, (uint)sizeof(sockaddr_un)))
            : -Errno.ENAMETOOLONG;

    /// <summary>accept4(2) with SOCK_CLOEXEC always, without the peer's name: a descriptor or -errno.</summary>
    public static int Accept(int fd, int flags = 0) => Result(accept4(fd, null, null, flags | SOCK_CLOEXEC));

    /// <summary>sendmsg(2) with MSG_NOSIGNAL always: bytes or -errno.</summary>
    public static nint Sendmsg(int fd, msghdr* message, int flags = 0) =>
        Result(sendmsg(fd, message, flags | MSG_NOSIGNAL));

    /// <summary>recvmsg(2) with MSG_CMSG_CLOEXEC always: bytes, 0 at the end, or -errno.</summary>
    public static nint Recvmsg(int fd, msghdr* message, int flags = 0) =>
        Result(recvmsg(fd, message, flags | MSG_CMSG_CLOEXEC));

    /// <summary>poll(2): entries with revents, 0 on timeout, or -errno. A negative timeout waits for ever.</summary>
    public static int Poll(pollfd* entries, nuint count, int timeoutMs) => Result(poll(entries, count, timeoutMs));

    /// <summary>
    /// ppoll(2) with the signal mask left alone: as poll(2), with a timeout in nanoseconds; negative waits for ever.
    /// </summary>
    public static int Ppoll(pollfd* entries, nuint count, long timeoutNs)
    {
        timespec time = default;
        (time.tv_sec, time.tv_nsec) = Math.DivRem(timeoutNs, 1_000_000_000);
        return Result(ppoll(entries, count, timeoutNs < 0 ? null : &time, null));
    }

    /// <summary>eventfd(2) with EFD_CLOEXEC always: a descriptor or -errno.</summary>
    public static int Eventfd(uint initial, int flags = 0) => Result(eventfd(initial, flags | EFD_CLOEXEC));

    static bool TryUnixAddress(string path, out sockaddr_un address)
    {
        address = default;
        address.sun_family = AF_UNIX;
        var bytes = PathBytes(path);
        fixed (sockaddr_un* pinned = &address)
            return bytes.AsSpan().TryCopyTo(new Span<byte>(pinned->sun_path, 108));
    }
}
