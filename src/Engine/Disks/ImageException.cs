using Blkring.Engine.Errors;
using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>An image that cannot be served. Its error says why in one line, and what to do.</summary>
public sealed class ImageException(EngineError error) : EngineException(error)
{
    /// <summary>Whether another process holds the image: the same call may succeed later.</summary>
    public bool InUse => Code == ErrorCode.ImageInUse;

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

    internal static ImageException NotAnImage(string path, string message) =>
        Of(ErrorCode.ImageWrongType, path, message);

    internal static ImageException Of(ErrorCode code, string path, string message, int errno = 0) =>
        new(new EngineError(code, message) { Path = path, Errno = errno });
}
