using Blkring.Engine.Errors;
using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>An image that cannot be served. Its error says why in one line, and what to do.</summary>
public sealed class ImageException(EngineError error) : EngineException(error)
{
    /// <summary>The image is there, but cannot be had for oneself now: the same call may succeed later.</summary>
    public bool MayBeFreeLater =>
        Code is ErrorCode.ImageInUse or ErrorCode.ImageInUseByHost or ErrorCode.ImageNotLocked;

    internal static ImageException CannotOpen(string path, int errno)
    {
        (ErrorCode code, string message) = errno switch
        {
            // A file made in /dev would be gone with the next boot.
            Errno.ENOENT or Errno.ENOTDIR when path.StartsWith("/dev/", StringComparison.Ordinal) => (
                ErrorCode.ImageMissing,
                $"{path} does not exist: check the path, and that the device or volume is there"
            ),
            Errno.ENOENT or Errno.ENOTDIR => (
                ErrorCode.ImageMissing,
                $"{path} does not exist: check the path, or make an image with 'truncate -s 1G {path}'"
            ),
            Errno.EACCES or Errno.EPERM => (
                ErrorCode.ImageNotReadable,
                $"{path} cannot be read: {Errno.Describe(errno)}; give this user read permission"
            ),
            _ => (ErrorCode.ImageNotOpened, $"{path} cannot be opened: {Errno.Describe(errno)}"),
        };
        return Of(code, path, message, errno);
    }

    internal static ImageException CannotWrite(string path, int errno)
    {
        string remedy =
            errno == Errno.EROFS
                ? "make its file system writable (for a systemd service, ReadWritePaths= lists the writable folders)"
                : "give this user write permission";
        return Of(
            ErrorCode.ImageNotWritable,
            path,
            $"{path} may not be written: {Errno.Describe(errno)}; attach it read-only, or {remedy}",
            errno
        );
    }

    internal static ImageException HeldByOther(string path, bool readOnly) =>
        Of(
            ErrorCode.ImageInUse,
            path,
            readOnly
                ? $"{path} is being written by another process ('lsof {path}' shows which): stop it, "
                    + "or turn image locking off to share the image on purpose"
                : $"{path} is in use by another process ('lsof {path}' shows which): stop it, attach the image "
                    + "read-only everywhere, or turn image locking off to share it on purpose"
        );

    internal static ImageException IsAnother(string path) =>
        Of(ErrorCode.ImageNotOpened, path, $"{path} leads to another device now than when it was opened");

    /// <param name="users">As <see cref="BlockDeviceUsers"/> has them; may be empty.</param>
    internal static ImageException HeldByHost(string path, string users) =>
        Of(
            ErrorCode.ImageInUseByHost,
            path,
            $"{path} is in use on this host ({(users == "" ? $"'lsof {path}' may show by whom" : users)}): end that, "
                + "attach it read-only, or turn image locking off to share it on purpose",
            Errno.EBUSY
        );

    internal static ImageException CannotLock(string path, int errno) =>
        Of(
            ErrorCode.ImageNotLocked,
            path,
            $"{path} cannot be locked: {Errno.Describe(errno)}; check its file system and the service that keeps its "
                + "locks, or turn image locking off",
            errno
        );

    internal static ImageException NotAnImage(string path, string message) =>
        Of(ErrorCode.ImageWrongType, path, message);

    internal static ImageException Of(ErrorCode code, string path, string message, int errno = 0) =>
        new(new EngineError(code, message) { Path = path, Errno = errno });
}
