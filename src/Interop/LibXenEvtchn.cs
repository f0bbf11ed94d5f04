using System.Runtime.InteropServices;

namespace Blkring.Interop;

/// <summary>
/// Event channels: libxenevtchn (xenevtchn.h). The library is bound at the first call, so that a process runs without
/// it; ask <see cref="XenLibraries"/> first. The calls return the library's result, or -errno.
/// </summary>
public static unsafe partial class LibXenEvtchn
{
    const string Library = XenLibraries.EvtchnLibrary;

    /// <summary>
    /// xenevtchn_handle: one open file of the event-channel device, with the ports that are bound through it.
    /// </summary>
    public readonly struct xenevtchn_handle;

    [LibraryImport(Library, SetLastError = true)]
    private static partial xenevtchn_handle* xenevtchn_open(xentoollog_logger* logger, uint flags);

    [LibraryImport(Library)]
    private static partial int xenevtchn_close(xenevtchn_handle* xce);

    [LibraryImport(Library)]
    private static partial int xenevtchn_fd(xenevtchn_handle* xce);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xenevtchn_bind_interdomain(xenevtchn_handle* xce, uint domid, uint remote_port);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xenevtchn_unbind(xenevtchn_handle* xce, uint port);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xenevtchn_notify(xenevtchn_handle* xce, uint port);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xenevtchn_pending(xenevtchn_handle* xce);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xenevtchn_unmask(xenevtchn_handle* xce, uint port);

    /// <summary>xenevtchn_open, close-on-exec: 0 or -errno.</summary>
    /// <exception cref="DllNotFoundException">The library is absent.</exception>
    public static int Open(out xenevtchn_handle* handle)
    {
        handle = xenevtchn_open(XenToolLog.Silent, 0);
        return handle != null ? 0 : -Marshal.GetLastPInvokeError();
    }

    /// <summary>
    /// xenevtchn_close: closes the device, which unbinds all ports of the handle. Call it once, whatever it returns.
    /// </summary>
    public static int Close(xenevtchn_handle* handle) => xenevtchn_close(handle);

    /// <summary>
    /// xenevtchn_fd: readable while an event is pending. The descriptor belongs to the handle: do not close or write
    /// it.
    /// </summary>
    public static int Descriptor(xenevtchn_handle* handle) => xenevtchn_fd(handle);

    /// <summary>
    /// xenevtchn_bind_interdomain: the local port, or -errno. An event is raised on it at once, in case the other side
    /// has sent one before the port was bound.
    /// </summary>
    public static int BindInterdomain(xenevtchn_handle* handle, ushort domain, uint remotePort) =>
        Result(xenevtchn_bind_interdomain(handle, domain, remotePort));

    /// <summary>xenevtchn_unbind: 0 or -errno. The other side's port can then be bound again.</summary>
    public static int Unbind(xenevtchn_handle* handle, uint port) => Result(xenevtchn_unbind(handle, port));

    /// <summary>xenevtchn_notify: 0 or -errno: -ENOTCONN if the port is not bound.</summary>
    public static int Notify(xenevtchn_handle* handle, uint port) => Result(xenevtchn_notify(handle, port));

    /// <summary>
    /// xenevtchn_pending: takes one event; its port, or -errno. The port stays masked until <see cref="Unmask"/>. If no
    /// event is pending, waits; on a non-blocking descriptor, -EAGAIN.
    /// </summary>
    public static int Pending(xenevtchn_handle* handle) => Result(xenevtchn_pending(handle));

    /// <summary>
    /// xenevtchn_unmask: 0 or -errno. An event that was raised while the port was masked is delivered at once.
    /// </summary>
    public static int Unmask(xenevtchn_handle* handle, uint port) => Result(xenevtchn_unmask(handle, port));

    static int Result(int returned) => returned >= 0 ? returned : -Marshal.GetLastPInvokeError();
}
