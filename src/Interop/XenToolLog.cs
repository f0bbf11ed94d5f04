using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Blkring.Interop;

/// <summary>struct xentoollog_logger (xentoollog.h): receives the messages of Xen's libraries.</summary>
[StructLayout(LayoutKind.Explicit, Size = 24)]
public struct xentoollog_logger
{
    /// <summary>Called with logger, level, errno, context, format and a va_list.</summary>
    [FieldOffset(0)]
    public nint vmessage;

    /// <summary>May be null.</summary>
    [FieldOffset(8)]
    public nint progress;

    [FieldOffset(16)]
    public nint destroy;
}

/// <summary>
/// The logger for Xen's libraries: it drops every message. Without a logger, they print each failed call on standard
/// error, and a guest can make calls fail as often as it likes, by offering grants that cannot be mapped. No
/// information is lost: the caller gets the errno.
/// </summary>
static unsafe class XenToolLog
{
    // Never freed: every handle keeps the address.
    public static readonly xentoollog_logger* Silent = Create();

    static xentoollog_logger* Create()
    {
        var logger = (xentoollog_logger*)NativeMemory.AllocZeroed((nuint)sizeof(xentoollog_logger));
        logger->vmessage = (nint)
            (delegate* unmanaged[Cdecl]<xentoollog_logger*, int, int, byte*, byte*, nint, void>)&Drop;
        logger->destroy = (nint)(delegate* unmanaged[Cdecl]<xentoollog_logger*, void>)&Ignore;
        return logger;
    }

    // The va_list is never read. Its declaration says only that it takes one register, which is true on every 64-bit
    // Linux. errno is not disturbed: xtl_log saves it for its caller.
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static void Drop(
        xentoollog_logger* logger,
        int level,
        int errnoval,
        byte* context,
        byte* format,
        nint arguments
    ) { }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static void Ignore(xentoollog_logger* logger) { }
}
