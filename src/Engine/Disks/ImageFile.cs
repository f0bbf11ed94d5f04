using Blkring.Engine.Errors;
using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// An open image, a regular file or a block device: the checks that precede serving it, its length and its lock. Owned
/// by a <see cref="FileDisk"/>.
/// </summary>
internal sealed class ImageFile : IDisposable
{
    private readonly ImageCalls _calls;

    private ImageFile(string path, FileDescriptor descriptor, bool isBlockDevice, FileDiskOptions options)
    {
        (Path, Descriptor, IsBlockDevice) = (path, descriptor, isBlockDevice);
        _calls = options.Calls;
        Guard = new ImageGuard(this, options);
    }

    public string Path { get; }
    public bool IsBlockDevice { get; }
    public FileDescriptor Descriptor { get; private set; }
    public bool ReadOnly { get; private init; }

    /// <summary>The flags with which <see cref="Descriptor"/> was opened.</summary>
    public int OpenFlags { get; private set; }

    /// <summary>Keeps other users away.</summary>
    public ImageGuard Guard { get; }

    public bool Direct => (OpenFlags & Libc.O_DIRECT) != 0;

    /// <summary>The alignment that transfers need, in bytes.</summary>
    public int AlignmentBytes { get; private set; } = Disk.SectorBytes;

    /// <summary>The length when it was opened; <see cref="MeasureBytes"/> gives the current one.</summary>
    public long LengthBytes { get; private set; }

    /// <summary>How it was opened and why, in a few words for people.</summary>
    public string Access { get; private set; } = "";

    /// <summary>Opens and checks an image, and locks it if the options say so.</summary>
    /// <exception cref="ImageException">It cannot be served.</exception>
    public static ImageFile Open(string path, FileDiskOptions options)
    {
        (bool blockDevice, ushort mode) = Inspect(path, options);
        // Root may write a file that has no write permission at all; its owner made it read-only on purpose.
        bool writable = options.Writable && (mode & (Libc.S_IWUSR | Libc.S_IWGRP | Libc.S_IWOTH)) != 0;
        string whyReadOnly = options.Writable ? "its mode has no write permission" : "as asked";
        int flags = writable ? Libc.O_RDWR | SyncFlag(options.Cache) : Libc.O_RDONLY;
        FileDescriptor descriptor = writable
            ? OpenForWriting(path, flags, blockDevice, options)
            : OpenForReading(path, options);
        if (blockDevice && writable && IsReadOnlyDevice(descriptor))
            (writable, whyReadOnly) = (false, "the device is read-only");

        ImageFile image = new(path, descriptor, blockDevice, options) { ReadOnly = !writable, OpenFlags = flags };
        try
        {
            image.LengthBytes = image.MeasureBytes();
            image.CheckLength(options);
            string cache = image.ChooseCache(options);
            image.Access = $"{(writable ? "read-write" : $"read-only ({whyReadOnly})")}, {cache}";
            if (options.Lock)
                image.Guard.LockToServe(options.LockTimeout);
            return image;
        }
        catch
        {
            image.Dispose();
            throw;
        }
    }

    /// <summary>The current length in bytes.</summary>
    /// <exception cref="ImageException">The length cannot be read.</exception>
    public long MeasureBytes()
    {
        if (!IsBlockDevice)
        {
            int result = Libc.Fstatx(Descriptor.Value, Libc.STATX_SIZE, out statx status);
            return result < 0 ? throw ImageException.CannotOpen(Path, -result) : (long)status.stx_size;
        }
        long length = _calls.MeasureBlockDevice(Descriptor);
        return length < 0
            ? throw ImageException.Of(
                ErrorCode.ImageLengthUnknown,
                Path,
                $"the length of {Path} cannot be read (BLKGETSIZE64): {Errno.Describe((int)-length)}",
                (int)-length
            )
            : length;
    }

    public void Dispose()
    {
        // No request is in flight any more.
        Guard.Unlock();
        Descriptor.Dispose();
    }

    private static (bool BlockDevice, ushort Mode) Inspect(string path, FileDiskOptions options)
    {
        if (string.IsNullOrEmpty(path))
        {
            throw ImageException.Of(
                ErrorCode.ImagePathEmpty,
                path,
                "the image path is empty: name a raw image file or a block device"
            );
        }
        // To open a pipe or a device for use may have effects of its own.
        int errno = options.Opener.TryOpen(path, Libc.O_PATH, out FileDescriptor? found);
        if (errno != 0)
            throw ImageException.CannotOpen(path, errno);
        statx status;
        using (found)
        {
            int error = options.Calls.Inspect(found!, out status);
            if (error < 0)
                throw ImageException.CannotOpen(path, -error);
        }
        return (status.stx_mode & Libc.S_IFMT) switch
        {
            Libc.S_IFREG => (false, status.stx_mode),
            // The permission bits of a device node say nothing about the medium: BLKROGET does, once it is open.
            Libc.S_IFBLK => (true, Libc.S_IWUSR),
            Libc.S_IFDIR => throw ImageException.NotAnImage(
                path,
                $"{path} is a folder: name a raw image file or a block device in it"
            ),
            _ => throw ImageException.NotAnImage(
                path,
                $"{path} is neither a regular file nor a block device: name one of those"
            ),
        };
    }

    private static int SyncFlag(CacheMode cache) => cache == CacheMode.Writethrough ? Libc.O_DSYNC : 0;

    private static FileDescriptor OpenForWriting(string path, int flags, bool blockDevice, FileDiskOptions options)
    {
        int errno = options.Opener.TryOpen(path, flags, out FileDescriptor? file);
        if (errno == 0)
            return file!;
        // A kernel that forbids writes to what is mounted (bdev_allow_write_mounted=0).
        if (errno == Errno.EBUSY && blockDevice)
            throw ImageException.HeldByHost(path, BlockDeviceUsers.Find(path));
        if (errno is not (Errno.EACCES or Errno.EPERM or Errno.EROFS))
            throw ImageException.CannotOpen(path, errno);
        // Not opened read-only instead: the guest would find out by an error in the middle of its work. But an image
        // that cannot even be read is reported as that.
        OpenForReading(path, options).Dispose();
        throw ImageException.CannotWrite(path, errno);
    }

    private static FileDescriptor OpenForReading(string path, FileDiskOptions options)
    {
        int errno = options.Opener.TryOpen(path, Libc.O_RDONLY, out FileDescriptor? file);
        return errno == 0 ? file! : throw ImageException.CannotOpen(path, errno);
    }

    private void CheckLength(FileDiskOptions options)
    {
        long length = LengthBytes,
            minimum = options.MinLengthBytes;
        if (length == 0)
        {
            throw WrongLength(
                ErrorCode.ImageEmpty,
                $"{Path} is empty: give it a length, for example with 'truncate -s 1G {Path}'"
            );
        }
        if (length % Disk.SectorBytes != 0)
        {
            throw WrongLength(
                ErrorCode.ImageMisaligned,
                $"{Path} is {length} bytes long, not a whole number of {Disk.SectorBytes}-byte sectors: "
                    + $"lengthen it with 'truncate -s %{Disk.SectorBytes} {Path}'"
            );
        }
        if (length < minimum)
        {
            throw WrongLength(
                ErrorCode.ImageTooSmall,
                $"{Path} is too small: {length} bytes, at least {minimum} are needed; "
                    + $"lengthen it with 'truncate -s {minimum} {Path}'"
            );
        }
        if (length % options.MinAlignmentBytes != 0)
        {
            throw WrongLength(
                ErrorCode.ImageMisaligned,
                $"{Path} is {length} bytes long, not a multiple of {options.MinAlignmentBytes}"
            );
        }

        ImageException WrongLength(ErrorCode code, string message) =>
            new(
                new EngineError(code, message)
                {
                    Path = Path,
                    LengthBytes = length,
                    MinBytes = minimum,
                }
            );
    }

    private static unsafe bool IsReadOnlyDevice(FileDescriptor file)
    {
        int readOnly = 0;
        return Libc.Ioctl(file.Value, Libc.BLKROGET, &readOnly) >= 0 && readOnly != 0;
    }

    /// <summary>
    /// Chooses between O_DIRECT and the page cache, and the alignment. O_DIRECT belongs to an open file description, so
    /// the image is opened a second time for it.
    /// </summary>
    /// <returns>What was chosen and why, in a few words for people.</returns>
    private string ChooseCache(FileDiskOptions options)
    {
        AlignmentBytes = options.MinAlignmentBytes;
        if (options.Cache == CacheMode.Writeback)
            return "buffered (as asked)";
        if (options.Cache == CacheMode.Writethrough)
            return "buffered (each write on stable storage, as asked)";

        int flags = (ReadOnly ? Libc.O_RDONLY : Libc.O_RDWR) | Libc.O_DIRECT;
        int errno = options.Opener.TryOpen(Path, flags, out FileDescriptor? direct);
        string failed = "opened";
        if (errno == 0)
        {
            errno = DirectIoProbe.FindAlignment(
                _calls,
                direct!,
                LengthBytes,
                options.MinAlignmentBytes,
                out int alignment
            );
            if (errno == 0)
            {
                Descriptor.Dispose();
                (Descriptor, OpenFlags, AlignmentBytes) = (direct!, flags, alignment);
                string why = options.Cache == CacheMode.Direct ? "as asked" : "the file allows it";
                string unit = alignment == Disk.SectorBytes ? "" : $", in whole sectors of {alignment} bytes";
                return $"O_DIRECT ({why}{unit})";
            }
            direct!.Dispose();
            failed = "read";
        }
        // Only these say that there is no direct I/O. Any other error may pass, and the cache mode would stay.
        if (errno is not (Errno.EINVAL or Errno.EOPNOTSUPP))
            throw ImageException.Of(
                ErrorCode.ImageNotOpened,
                Path,
                $"{Path} cannot be {failed} with O_DIRECT: {Errno.Describe(errno)}",
                errno
            );
        string reason = $"no O_DIRECT at {Disk.SectorBytes}-byte sectors";
        return options.Cache == CacheMode.Direct
            ? throw ImageException.Of(
                ErrorCode.ImageWithoutDirectIo,
                Path,
                $"{Path} cannot be opened with O_DIRECT ({reason}): use the page cache instead",
                errno
            )
            : $"buffered ({reason})";
    }
}
