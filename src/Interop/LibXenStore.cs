using System.Runtime.InteropServices;
using System.Text;

namespace Blkring.Interop;

/// <summary>A connection to xenstored (struct xs_handle), closed when the last call on it has returned.</summary>
public sealed class XsHandle : SafeHandle
{
    internal XsHandle(nint handle)
        : base(invalidHandleValue: 0, ownsHandle: true) => SetHandle(handle);

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        LibXenStore.Close(handle);
        return true;
    }
}

/// <summary>
/// Thin wrappers of libxenstore (xenstore.h). The library is bound at the first call, which throws
/// <see cref="DllNotFoundException"/> if it is absent. Several threads may use one handle: the library serialises their
/// calls.
/// </summary>
/// <remarks>
/// Results are values or -errno. A transaction of 0 (XBT_NULL) is none. The library honours XENSTORED_PATH, and uses
/// the kernel's device if there is no socket (in a driver domain).
/// </remarks>
public static unsafe partial class LibXenStore
{
    const string Library = "libxenstore.so.4";

    /// <summary>The greatest length of a value or message in bytes (XENSTORE_PAYLOAD_MAX of xs_wire.h).</summary>
    public const int PayloadMax = 4096;

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint xs_open(nuint flags);

    [LibraryImport(Library)]
    private static partial void xs_close(nint handle);

    [LibraryImport(Library)]
    private static partial int xs_fileno(XsHandle handle);

    [LibraryImport(Library, SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial byte* xs_read(XsHandle handle, uint transaction, string path, uint* length);

    [LibraryImport(Library, SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial byte xs_write(XsHandle handle, uint transaction, string path, byte* data, uint length);

    [LibraryImport(Library, SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial byte xs_mkdir(XsHandle handle, uint transaction, string path);

    [LibraryImport(Library, SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial byte xs_rm(XsHandle handle, uint transaction, string path);

    [LibraryImport(Library, SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial byte** xs_directory(XsHandle handle, uint transaction, string path, uint* count);

    [LibraryImport(Library, SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial byte xs_set_permissions(
        XsHandle handle,
        uint transaction,
        string path,
        xs_permissions* permissions,
        uint count
    );

    [LibraryImport(Library, SetLastError = true)]
    private static partial uint xs_transaction_start(XsHandle handle);

    [LibraryImport(Library, SetLastError = true)]
    private static partial byte xs_transaction_end(XsHandle handle, uint transaction, byte abort);

    [LibraryImport(Library, SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial byte xs_watch(XsHandle handle, string path, string token);

    [LibraryImport(Library, SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial byte xs_unwatch(XsHandle handle, string path, string token);

    [LibraryImport(Library, SetLastError = true)]
    private static partial byte** xs_check_watch(XsHandle handle);

    [LibraryImport("libc")]
    private static partial void free(void* memory);

    /// <summary>xs_open(0): a connection, or null and the errno.</summary>
    public static XsHandle? Open(out int errno)
    {
        nint handle = xs_open(0);
        errno = handle == 0 ? Marshal.GetLastPInvokeError() : 0;
        return handle == 0 ? null : new XsHandle(handle);
    }

    internal static void Close(nint handle) => xs_close(handle);

    /// <summary>xs_fileno: readable while a watch event is pending, hung up once the connection is lost.</summary>
    public static int Fileno(XsHandle handle) => xs_fileno(handle);

    /// <summary>xs_read: the length in bytes, or -errno.</summary>
    public static int Read(XsHandle handle, uint transaction, string path, out string value)
    {
        uint length;
        byte* data = xs_read(handle, transaction, path, &length);
        if (data == null)
        {
            value = "";
            return -Marshal.GetLastPInvokeError();
        }
        value = Encoding.UTF8.GetString(data, (int)length);
        free(data);
        return (int)length;
    }

    /// <summary>xs_write: 0 or -errno. Missing parents are created.</summary>
    public static int Write(XsHandle handle, uint transaction, string path, string value)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(value);
        fixed (byte* data = bytes)
            return Result(xs_write(handle, transaction, path, data, (uint)bytes.Length));
    }

    /// <summary>xs_mkdir: 0 or -errno.</summary>
    public static int Mkdir(XsHandle handle, uint transaction, string path) =>
        Result(xs_mkdir(handle, transaction, path));

    /// <summary>xs_rm, with all below: 0 or -errno.</summary>
    public static int Rm(XsHandle handle, uint transaction, string path) => Result(xs_rm(handle, transaction, path));

    /// <summary>xs_directory: names of the children, or -errno.</summary>
    public static int Directory(XsHandle handle, uint transaction, string path, out string[] names)
    {
        uint count;
        byte** list = xs_directory(handle, transaction, path, &count);
        if (list == null)
        {
            names = [];
            return -Marshal.GetLastPInvokeError();
        }
        names = new string[count];
        for (int i = 0; i < names.Length; i++)
            names[i] = Marshal.PtrToStringUTF8((nint)list[i])!;
        // One allocation: the strings follow the pointers.
        free(list);
        return names.Length;
    }

    /// <summary>
    /// xs_set_permissions: the first entry is the owner, with the permissions of all domains that have no entry. 0 or
    /// -errno.
    /// </summary>
    public static int SetPermissions(
        XsHandle handle,
        uint transaction,
        string path,
        ReadOnlySpan<xs_permissions> permissions
    )
    {
        fixed (xs_permissions* first = permissions)
            return Result(xs_set_permissions(handle, transaction, path, first, (uint)permissions.Length));
    }

    /// <summary>xs_transaction_start: its number, or 0 and the errno.</summary>
    public static uint TransactionStart(XsHandle handle, out int errno)
    {
        uint transaction = xs_transaction_start(handle);
        errno = transaction == 0 ? Marshal.GetLastPInvokeError() : 0;
        return transaction;
    }

    /// <summary>xs_transaction_end: 0, or -errno: -EAGAIN if another client has changed what it had read.</summary>
    public static int TransactionEnd(XsHandle handle, uint transaction, bool abort) =>
        Result(xs_transaction_end(handle, transaction, abort ? (byte)1 : (byte)0));

    /// <summary>xs_watch: 0 or -errno. One event comes at once.</summary>
    public static int Watch(XsHandle handle, string path, string token) => Result(xs_watch(handle, path, token));

    /// <summary>xs_unwatch: 0 or -errno.</summary>
    public static int Unwatch(XsHandle handle, string path, string token) => Result(xs_unwatch(handle, path, token));

    /// <summary>
    /// xs_check_watch: 1 with the event, 0 if none is pending, or -errno if the connection is lost. Never waits.
    /// </summary>
    public static int CheckWatch(XsHandle handle, out string path, out string token)
    {
        byte** pair = xs_check_watch(handle);
        if (pair == null)
        {
            (path, token) = ("", "");
            int errno = Marshal.GetLastPInvokeError();
            return errno == Errno.EAGAIN ? 0 : -errno;
        }
        path = Marshal.PtrToStringUTF8((nint)pair[0])!;
        token = Marshal.PtrToStringUTF8((nint)pair[1])!;
        free(pair);
        return 1;
    }

    // C's bool is one byte.
    static int Result(byte done) => done != 0 ? 0 : -Marshal.GetLastPInvokeError();
}

/// <summary>struct xs_permissions (xenstore_lib.h)</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
public struct xs_permissions
{
    public const uint XS_PERM_NONE = 0,
        XS_PERM_READ = 1,
        XS_PERM_WRITE = 2;

    /// <summary>The domain.</summary>
    [FieldOffset(0)]
    public uint id;

    /// <summary>XS_PERM_*</summary>
    [FieldOffset(4)]
    public uint perms;
}
