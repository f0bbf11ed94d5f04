using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Blkring.Interop;

/// <summary>struct xentoollog_logger (xentoollog.h): what Xen's libraries hand their messages to.</summary>
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
/// The logger given to Xen's libraries: it drops every message. Without one they write each failed call to standard
/// error, and a guest can make calls fail as often as it likes, by offering grants that cannot be mapped. Nothing is
/// lost: errno tells the caller.
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

    // The va_list is never read: all that is said of it here is that it takes one register, which holds on every 64-bit
    // Linux. errno is safe: xtl_log keeps it for its caller.
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
