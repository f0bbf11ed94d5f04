using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>Why an image cannot be served.</summary>
public enum ImageError
{
    /// <summary>Any other reason: see the message.</summary>
    Other,

    /// <summary>There is no such file.</summary>
    NotFound,

    /// <summary>It is neither a regular file nor a block device, or no path was given.</summary>
    NotAnImage,

    /// <summary>This process may not read it.</summary>
    NotReadable,

    /// <summary>This process may not write it.</summary>
    NotWritable,

    /// <summary>It is empty, too short, or not a whole number of sectors.</summary>
    WrongLength,

    /// <summary>O_DIRECT was required and is not supported.</summary>
    NoDirectIo,

    /// <summary>Another process holds the image; the same call may succeed later.</summary>
    InUse,
}

/// <summary>An image that cannot be served. The message is one line that says why and what to do.</summary>
public sealed class ImageException(string message, ImageError error = ImageError.Other) : Exception(message)
{
    public ImageError Error => error;

    internal static ImageException CannotOpen(string path, int errno) =>
        errno switch
        {
            // A file made in /dev would be gone with the next boot.
            Errno.ENOENT or Errno.ENOTDIR when path.StartsWith("/dev/", StringComparison.Ordinal) => new(
                $"{path} does not exist: check the path, and that the device or volume is there",
                ImageError.NotFound
            ),
            Errno.ENOENT or Errno.ENOTDIR => new(
                $"{path} does not exist: check the path, or make an image with 'truncate -s 1G {path}'",
                ImageError.NotFound
            ),
            Errno.EACCES or Errno.EPERM => new(
                $"{path} cannot be read: {Errno.Describe(errno)}; give this user read permission",
                ImageError.NotReadable
            ),
            _ => new($"{path} cannot be opened: {Errno.Describe(errno)}"),
        };

    internal static ImageException CannotWrite(string path, int errno)
    {
        string remedy =
            errno == Errno.EROFS
                ? "make its file system writable (for a systemd service, ReadWritePaths= lists the writable folders)"
                : "give this user write permission";
        return new ImageException(
            $"{path} may not be written: {Errno.Describe(errno)}; attach it read-only, or {remedy}",
            ImageError.NotWritable
        );
    }

    internal static ImageException IsInUse(string path, bool readOnly) =>
        new(
            readOnly
                ? $"{path} is being written by another process ('lsof {path}' shows which): stop it, "
                    + "or turn image locking off to share the image on purpose"
                : $"{path} is in use by another process ('lsof {path}' shows which): stop it, attach the image "
                    + "read-only everywhere, or turn image locking off to share it on purpose",
            ImageError.InUse
        );
}
