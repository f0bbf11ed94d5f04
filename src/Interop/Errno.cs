using System.Runtime.InteropServices;

namespace Blkring.Interop;

/// <summary>
/// Linux error numbers (asm-generic/errno-base.h, asm-generic/errno.h). Native wrappers return them negated.
/// </summary>
public static class Errno
{
    public const int EPERM = 1;
    public const int ENOENT = 2;
    public const int ESRCH = 3;
    public const int EINTR = 4;
    public const int EIO = 5;
    public const int ENXIO = 6;
    public const int E2BIG = 7;
    public const int EBADF = 9;
    public const int EAGAIN = 11;
    public const int ENOMEM = 12;
    public const int EACCES = 13;
    public const int EFAULT = 14;
    public const int EBUSY = 16;
    public const int EEXIST = 17;
    public const int EXDEV = 18;
    public const int ENODEV = 19;
    public const int ENOTDIR = 20;
    public const int EISDIR = 21;
    public const int EINVAL = 22;
    public const int ENFILE = 23;
    public const int EMFILE = 24;
    public const int ENOTTY = 25;
    public const int ETXTBSY = 26;
    public const int EFBIG = 27;
    public const int ENOSPC = 28;
    public const int ESPIPE = 29;
    public const int EROFS = 30;
    public const int EPIPE = 32;
    public const int ERANGE = 34;
    public const int ENAMETOOLONG = 36;
    public const int ENOLCK = 37;
    public const int ENOSYS = 38;
    public const int ELOOP = 40;
    public const int ENODATA = 61;
    public const int ETIME = 62;
    public const int EREMOTEIO = 121;
    public const int EOVERFLOW = 75;
    public const int EBADFD = 77;
    public const int EMSGSIZE = 90;
    public const int EOPNOTSUPP = 95;
    public const int EADDRINUSE = 98;
    public const int ECONNRESET = 104;
    public const int ENOBUFS = 105;
    public const int EISCONN = 106;
    public const int ENOTCONN = 107;
    public const int ETIMEDOUT = 110;
    public const int ECONNREFUSED = 111;
    public const int EALREADY = 114;
    public const int EINPROGRESS = 115;
    public const int ESTALE = 116;
    public const int EDQUOT = 122;
    public const int EMEDIUMTYPE = 124;
    public const int ECANCELED = 125;

    /// <summary>
    /// The name and the C library's text: <c>ENOSPC (No space left on device)</c>. Takes 28 or -28. Allocates.
    /// </summary>
    public static string Describe(int errno)
    {
        var number = Math.Abs(errno);
        return $"{Name(number) ?? $"errno {number}"} ({Marshal.GetPInvokeErrorMessage(number)})";
    }

    /// <summary>
    /// The exception that a call of the control plane throws: <c>open /dev/x: ENOENT (No such file or directory)</c>.
    /// Its HResult is the errno.
    /// </summary>
    public static IOException ToException(string call, int errno) => new($"{call}: {Describe(errno)}", Math.Abs(errno));

    static string? Name(int number) =>
        number switch
        {
            EPERM => nameof(EPERM),
            ENOENT => nameof(ENOENT),
            ESRCH => nameof(ESRCH),
            EINTR => nameof(EINTR),
            EIO => nameof(EIO),
            ENXIO => nameof(ENXIO),
            E2BIG => nameof(E2BIG),
            EBADF => nameof(EBADF),
            EAGAIN => nameof(EAGAIN),
            ENOMEM => nameof(ENOMEM),
            EACCES => nameof(EACCES),
            EFAULT => nameof(EFAULT),
            EBUSY => nameof(EBUSY),
            EEXIST => nameof(EEXIST),
            EXDEV => nameof(EXDEV),
            ENODEV => nameof(ENODEV),
            ENOTDIR => nameof(ENOTDIR),
            EISDIR => nameof(EISDIR),
            EINVAL => nameof(EINVAL),
            ENFILE => nameof(ENFILE),
            EMFILE => nameof(EMFILE),
            ENOTTY => nameof(ENOTTY),
            ETXTBSY => nameof(ETXTBSY),
            EFBIG => nameof(EFBIG),
            ENOSPC => nameof(ENOSPC),
            ESPIPE => nameof(ESPIPE),
            EROFS => nameof(EROFS),
            EPIPE => nameof(EPIPE),
            ERANGE => nameof(ERANGE),
            ENAMETOOLONG => nameof(ENAMETOOLONG),
            ENOLCK => nameof(ENOLCK),
            ENOSYS => nameof(ENOSYS),
            ELOOP => nameof(ELOOP),
            ENODATA => nameof(ENODATA),
            ETIME => nameof(ETIME),
            EREMOTEIO => nameof(EREMOTEIO),
            EOVERFLOW => nameof(EOVERFLOW),
            EBADFD => nameof(EBADFD),
            EMSGSIZE => nameof(EMSGSIZE),
            EOPNOTSUPP => nameof(EOPNOTSUPP),
            EADDRINUSE => nameof(EADDRINUSE),
            ECONNRESET => nameof(ECONNRESET),
            ENOBUFS => nameof(ENOBUFS),
            EISCONN => nameof(EISCONN),
            ENOTCONN => nameof(ENOTCONN),
            ETIMEDOUT => nameof(ETIMEDOUT),
            ECONNREFUSED => nameof(ECONNREFUSED),
            EALREADY => nameof(EALREADY),
            EINPROGRESS => nameof(EINPROGRESS),
            ESTALE => nameof(ESTALE),
            EDQUOT => nameof(EDQUOT),
            EMEDIUMTYPE => nameof(EMEDIUMTYPE),
            ECANCELED => nameof(ECANCELED),
            _ => null,
        };
}
