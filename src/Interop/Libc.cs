using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace Blkring.Interop;

/// <summary>
/// Thin wrappers of the C library: per function, one private native declaration and one public wrapper, which returns
/// the call's result, or -errno. Nothing here throws, and only functions that take a string allocate. For 64-bit Linux
/// only: off_t and long have 8 bytes.
/// </summary>
public static unsafe partial class Libc
{
    const string Library = "libc";

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static int Result(int returned) => returned >= 0 ? returned : -Marshal.GetLastPInvokeError();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static nint Result(nint returned) => returned >= 0 ? returned : -Marshal.GetLastPInvokeError();

    // Zero-terminated UTF-8: to the kernel, a path is bytes.
    static byte[] PathBytes(string path)
    {
        var bytes = new byte[Encoding.UTF8.GetByteCount(path) + 1];
        Encoding.UTF8.GetBytes(path, bytes);
        return bytes;
    }

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint syscall(nint number, nint a, nint b, nint c, nint d, nint e, nint f);

    /// <summary>syscall(2): for a system call that the C library has no function for; its result or -errno.</summary>
    public static nint Syscall(nint number, nint a = 0, nint b = 0, nint c = 0, nint d = 0, nint e = 0, nint f = 0) =>
        Result(syscall(number, a, b, c, d, e, f));

    [LibraryImport(Library)]
    [SuppressGCTransition]
    private static partial int getpid();

    [LibraryImport(Library)]
    [SuppressGCTransition]
    private static partial int gettid();

    [LibraryImport(Library)]
    [SuppressGCTransition]
    private static partial uint getegid();

    /// <summary>getegid(2): the effective group. Never fails.</summary>
    public static uint Getegid() => getegid();

    /// <summary>getpid(2). Never fails.</summary>
    public static int Getpid() => getpid();

    /// <summary>gettid(2): the kernel's id of the calling thread. Never fails.</summary>
    public static int Gettid() => gettid();

    public const int PR_SET_NAME = 15;
    public const int PR_SET_DUMPABLE = 4;

    [LibraryImport(Library, SetLastError = true)]
    private static partial int prctl(int option, nuint arg2, nuint arg3, nuint arg4, nuint arg5);

    /// <summary>prctl(2). Result or -errno.</summary>
    public static int Prctl(int option, nuint arg2 = 0, nuint arg3 = 0, nuint arg4 = 0, nuint arg5 = 0) =>
        Result(prctl(option, arg2, arg3, arg4, arg5));

    [LibraryImport(Library, SetLastError = true)]
    private static partial int sched_setaffinity(int pid, nuint cpusetsize, ulong* mask);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int sched_getaffinity(int pid, nuint cpusetsize, ulong* mask);

    /// <summary>
    /// sched_setaffinity(2): <paramref name="tid"/> 0 is the calling thread; bit n of the mask is CPU n. 0 or -errno.
    /// </summary>
    public static int SchedSetAffinity(int tid, nuint maskBytes, ulong* mask) =>
        Result(sched_setaffinity(tid, maskBytes, mask));

    /// <summary>sched_getaffinity(2): the same; -EINVAL if the mask is shorter than the kernel's.</summary>
    public static int SchedGetAffinity(int tid, nuint maskBytes, ulong* mask) =>
        Result(sched_getaffinity(tid, maskBytes, mask));
}
