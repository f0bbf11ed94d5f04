using System.Runtime.InteropServices;

namespace Blkring.Interop;

public static unsafe partial class Libc
{
    // linux/fcntl.h, bits/fcntl-linux.h
    public const int F_GETFL = 3;
    public const int F_SETFL = 4;
    public const int F_DUPFD_CLOEXEC = 1030;
    public const int F_ADD_SEALS = 1033;
    public const int F_GET_SEALS = 1034;
    public const int F_SEAL_SEAL = 1;
    public const int F_SEAL_SHRINK = 2;
    public const int F_SEAL_GROW = 4;

    [LibraryImport(Library, SetLastError = true)]
    private static partial int fcntl(int fd, int cmd, nint arg);

    /// <summary>fcntl(F_DUPFD_CLOEXEC): a further descriptor of the same open file, or -errno.</summary>
    public static int Dup(int fd) => Result(fcntl(fd, F_DUPFD_CLOEXEC, 0));

    [LibraryImport(Library, SetLastError = true)]
    private static partial int dup3(int oldfd, int newfd, int flags);

    /// <summary>
    /// dup3(2) with O_CLOEXEC: <paramref name="target"/>, a descriptor, names the open file of <paramref name="fd"/>
    /// from now on: its number or -errno.
    /// </summary>
    public static int Replace(int target, int fd) => Result(dup3(fd, target, O_CLOEXEC));

    /// <summary>fcntl(F_GETFL): O_* of the open file, or -errno.</summary>
    public static int GetStatusFlags(int fd) => Result(fcntl(fd, F_GETFL, 0));

    /// <summary>fcntl(F_SETFL): sets the O_* that can be changed, O_NONBLOCK among them: 0 or -errno.</summary>
    public static int SetStatusFlags(int fd, int flags) => Result(fcntl(fd, F_SETFL, flags));

    /// <summary>fcntl(F_ADD_SEALS) on a memfd: 0 or -errno.</summary>
    public static int AddSeals(int fd, int seals) => Result(fcntl(fd, F_ADD_SEALS, seals));

    /// <summary>fcntl(F_GET_SEALS): F_SEAL_* or -errno; -EINVAL if it is not a memfd.</summary>
    public static int GetSeals(int fd) => Result(fcntl(fd, F_GET_SEALS, 0));
}
