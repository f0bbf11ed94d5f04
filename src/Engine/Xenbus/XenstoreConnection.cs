using Blkring.Engine.Errors;
using Blkring.Interop;

namespace Blkring.Engine.Xenbus;

/// <summary>A connection to xenstore through libxenstore.</summary>
public sealed unsafe class XenstoreConnection : IXenstore
{
    private readonly XsHandle _handle;

    private XenstoreConnection(XsHandle handle) => _handle = handle;

    /// <summary>Connects to the socket in XENSTORED_PATH, to the default socket, or by the kernel's device.</summary>
    /// <exception cref="XenstoreException">What is missing, and what to install or to start.</exception>
    public static XenstoreConnection Open()
    {
        try
        {
            XsHandle? handle = LibXenStore.Open(out int errno);
            return handle is not null ? new XenstoreConnection(handle) : throw NoAnswer(errno);
        }
        catch (DllNotFoundException)
        {
            throw new XenstoreException(
                ErrorCode.StoreLibraryMissing,
                "libxenstore.so.4 is missing: install the Debian package libxenstore4 (or your system's Xen libraries)"
            );
        }
    }

    private static XenstoreException NoAnswer(int errno)
    {
        bool denied = errno is Errno.EACCES or Errno.EPERM;
        string advice = denied
            ? "run this as root"
            : "boot Xen and start xenstored (systemctl start xenstored), or set XENSTORED_PATH to its socket";
        return new XenstoreException(
            denied ? ErrorCode.StoreAccessDenied : ErrorCode.StoreNotRunning,
            $"xenstore does not answer ({Errno.Describe(errno)}): {advice}",
            errno
        );
    }

    public int Descriptor => LibXenStore.Fileno(_handle);

    public string? Read(string path, uint transaction = 0)
    {
        int length = LibXenStore.Read(_handle, transaction, path, out string value);
        return length >= 0 ? value
            : Absent(length) ? null
            : throw Failed("read", path, length);
    }

    public void Write(string path, string value, uint transaction = 0) =>
        Check("write", path, LibXenStore.Write(_handle, transaction, path, value));

    public void Remove(string path, uint transaction = 0)
    {
        int error = LibXenStore.Rm(_handle, transaction, path);
        if (!Absent(error))
            Check("remove", path, error);
    }

    public IReadOnlyList<string>? Directory(string path, uint transaction = 0)
    {
        int count = LibXenStore.Directory(_handle, transaction, path, out string[] names);
        return count >= 0 ? names
            : Absent(count) ? null
            : throw Failed("directory", path, count);
    }

    public uint StartTransaction()
    {
        uint transaction = LibXenStore.TransactionStart(_handle, out int errno);
        return transaction != 0 ? transaction : throw Failed("transaction", "", errno);
    }

    public bool EndTransaction(uint transaction, bool abort)
    {
        int error = LibXenStore.TransactionEnd(_handle, transaction, abort);
        if (error == -Errno.EAGAIN)
            return false;
        Check("transaction end", "", error);
        return true;
    }

    public void Watch(string path, string token) => Check("watch", path, LibXenStore.Watch(_handle, path, token));

    public void Unwatch(string path, string token)
    {
        int error = LibXenStore.Unwatch(_handle, path, token);
        if (!Absent(error))
            Check("unwatch", path, error);
    }

    public bool CheckWatch(out string path, out string token)
    {
        int result = LibXenStore.CheckWatch(_handle, out path, out token);
        return result >= 0 ? result == 1 : throw Failed("check watch", "", result);
    }

    /// <summary>The first entry names the owner; its bits are the permissions of domains without an entry.</summary>
    public void SetPermissions(string path, ReadOnlySpan<xs_permissions> permissions, uint transaction = 0) =>
        Check("set permissions", path, LibXenStore.SetPermissions(_handle, transaction, path, permissions));

    public void Dispose() => _handle.Dispose();

    /// <summary>A key that may not be read counts as absent: a guest sets the permissions of its own area.</summary>
    private static bool Absent(int error) => error is -Errno.ENOENT or -Errno.EACCES;

    private static void Check(string call, string path, int error)
    {
        if (error < 0)
            throw Failed(call, path, error);
    }

    private static XenstoreException Failed(string call, string path, int error) =>
        new(
            ErrorCode.StoreCallFailed,
            $"xenstore {call} {path}".TrimEnd() + ": " + Errno.Describe(error),
            Math.Abs(error)
        );
}
