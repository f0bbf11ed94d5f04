using System.Globalization;
using System.Runtime.InteropServices;
using Blkring.Interop;

namespace Blkring.Engine;

/// <summary>Which cache stands between the guest and the store.</summary>
public enum CacheMode
{
    /// <summary>O_DIRECT where the file allows it at 512-byte granularity, else the page cache.</summary>
    Auto,
    /// <summary>O_DIRECT or an error.</summary>
    Direct,
    /// <summary>The page cache; a flush still reaches stable storage (fdatasync).</summary>
    Buffered,
}

public sealed class FileDiskOptions
{
    /// <summary>False opens read-only whatever the file allows.</summary>
    public bool Writable { get; init; }
    public CacheMode Cache { get; init; } = CacheMode.Auto;
    /// <summary>A shorter image is refused.</summary>
    public long MinLengthBytes { get; init; } = Disk.SectorBytes;
}

/// <summary>An image or device that cannot be served; the message is one line that names what to do.</summary>
public sealed class ImageException(string message) : Exception(message);

/// <summary>A raw image file or a block device. Each queue gets its own data plane: io_uring, or pread and pwrite where that is refused.</summary>
public sealed class FileDisk : Disk
{
    private readonly FileDescriptor _file;
    private readonly string _description;

    private FileDisk(string path, FileDescriptor file, long lengthBytes, bool readOnly, bool direct, bool blockDevice, string description)
        : base(lengthBytes >> SectorShift, readOnly)
    {
        (Path, _file, Direct, IsBlockDevice, _description) = (path, file, direct, blockDevice, description);
    }

    public string Path { get; }

    /// <summary>O_DIRECT is in use.</summary>
    public bool Direct { get; }
    public bool IsBlockDevice { get; }

    // fallocate(2): a punched hole reads as zeros, in a file and on a block device.
    public override bool DiscardZeroes => true;

    public override string Describe() => _description;

    public override TResult Accept<TResult>(IDiskVisitor<TResult> visitor) => visitor.Visit(new FileDiskIo(_file));

    /// <summary>Opens and checks an image.</summary>
    /// <exception cref="ImageException">It cannot be served, with the reason and the remedy in one line.</exception>
    public static FileDisk Open(string path, FileDiskOptions options)
    {
        (bool blockDevice, ushort mode) = Inspect(path);

        // Root may write what nobody may; a file without a write bit was made read-only on purpose.
        bool writable = options.Writable && (mode & 0x92 /* 0222 */) != 0;
        string note = options.Writable && !writable ? "its mode has no write permission" : options.Writable ? "" : "as asked";

        FileDescriptor? file = null;
        if (writable)
        {
            int errno = TryOpen(path, Libc.O_RDWR, out file);
            if (errno is Errno.EACCES or Errno.EPERM or Errno.EROFS) (writable, note) = (false, "not writable: " + Errno.Describe(errno));
            else if (errno != 0) throw OpenFailed(path, errno);
        }
        if (file is null)
        {
            int errno = TryOpen(path, Libc.O_RDONLY, out file);
            if (errno != 0) throw OpenFailed(path, errno);
        }

        try
        {
            long length = LengthOf(path, file!, blockDevice);
            CheckLength(path, length, options.MinLengthBytes);
            if (blockDevice && writable && IsReadOnlyDevice(file!)) (writable, note) = (false, "the device is read-only");
            (file, bool direct, string why) = ChooseCache(path, file!, length, writable, options.Cache);
            string kind = blockDevice ? "block device" : "raw image";
            string access = writable ? "read-write" : $"read-only ({note})";
            return new FileDisk(path, file, length, !writable, direct, blockDevice,
                $"{kind} {path}, {length >> SectorShift} sectors, {access}, {(direct ? "O_DIRECT" : "buffered")} ({why})");
        }
        catch
        {
            file?.Dispose();
            throw;
        }
    }

    private static unsafe (bool BlockDevice, ushort Mode) Inspect(string path)
    {
        if (string.IsNullOrEmpty(path)) throw new ImageException("the image path is empty: name a raw image file or a block device");
        int result = Libc.Statx(path, 0, Libc.STATX_TYPE | Libc.STATX_MODE, out statx status);
        if (result < 0) throw OpenFailed(path, -result);
        return (status.stx_mode & Libc.S_IFMT) switch
        {
            Libc.S_IFREG => (false, status.stx_mode),
            // Permission bits of a device node say nothing about the medium.
            Libc.S_IFBLK => (true, 0x1b6),
            0x4000 => throw new ImageException($"{path} is a folder: name a raw image file or a block device in it"),
            _ => throw new ImageException($"{path} is neither a regular file nor a block device: name one of those"),
        };
    }

    private static int TryOpen(string path, int flags, out FileDescriptor? file)
    {
        int fd = Libc.Open(path, flags);
        file = fd < 0 ? null : new FileDescriptor(fd);
        return fd < 0 ? -fd : 0;
    }

    private static ImageException OpenFailed(string path, int errno) => new(errno switch
    {
        Errno.ENOENT or Errno.ENOTDIR => $"{path} does not exist: check the path, or make an image with 'truncate -s 1G {path}'",
        Errno.EACCES or Errno.EPERM => $"{path} cannot be read: {Errno.Describe(errno)}; give this user read permission",
        _ => $"{path} cannot be opened: {Errno.Describe(errno)}",
    });

    private static unsafe long LengthOf(string path, FileDescriptor file, bool blockDevice)
    {
        if (!blockDevice)
        {
            int result = Libc.Fstatx(file.Value, Libc.STATX_SIZE, out statx status);
            return result < 0 ? throw OpenFailed(path, -result) : (long)status.stx_size;
        }
        ulong length = 0;
        int error = Libc.Ioctl(file.Value, Libc.BLKGETSIZE64, &length);
        if (error < 0) throw new ImageException($"the length of {path} cannot be read (BLKGETSIZE64): {Errno.Describe(-error)}");
        return (long)length;
    }

    private static void CheckLength(string path, long length, long minimum)
    {
        if (length == 0) throw new ImageException($"{path} is empty: give it a length, for example with 'truncate -s 1G {path}'");
        if (length % SectorBytes != 0)
        {
            throw new ImageException(
                $"{path} is {length} bytes long, not a whole number of {SectorBytes}-byte sectors: lengthen it with 'truncate -s %{SectorBytes} {path}'");
        }
        if (length < minimum)
            throw new ImageException($"{path} is too small: {length} bytes, at least {minimum} are needed; lengthen it with 'truncate -s {minimum} {path}'");
    }

    private static unsafe bool IsReadOnlyDevice(FileDescriptor file)
    {
        int readOnly = 0;
        return Libc.Ioctl(file.Value, Libc.BLKROGET, &readOnly) >= 0 && readOnly != 0;
    }

    /// <summary>
    /// O_DIRECT is a property of an open file: the choice may open it once more. Guests address 512-byte sectors, so O_DIRECT is taken
    /// only if a read of one sector works; asking the file beats trusting what its filesystem declares.
    /// </summary>
    private static (FileDescriptor File, bool Direct, string Why) ChooseCache(
        string path, FileDescriptor file, long length, bool writable, CacheMode cache)
    {
        if (cache == CacheMode.Buffered) return (file, false, "as asked");

        int errno = TryOpen(path, (writable ? Libc.O_RDWR : Libc.O_RDONLY) | Libc.O_DIRECT, out FileDescriptor? direct);
        if (errno == 0)
        {
            errno = TryReadOneSector(direct!, length);
            if (errno == 0)
            {
                file.Dispose();
                return (direct!, true, cache == CacheMode.Direct ? "as asked" : "the file allows it");
            }
            direct!.Dispose();
        }
        string why = errno == Errno.EINVAL ? $"no O_DIRECT at {SectorBytes}-byte sectors" : "O_DIRECT: " + Errno.Describe(errno);
        if (cache == CacheMode.Direct) throw new ImageException($"{path} cannot be opened with O_DIRECT ({why}): use the page cache instead");
        return (file, false, why);
    }

    /// <summary>One sector to a place, and where there is one from a place, that are aligned to a sector and to nothing more.</summary>
    private static unsafe int TryReadOneSector(FileDescriptor file, long length)
    {
        void* page = NativeMemory.AlignedAlloc(Arena.PageBytes, Arena.PageBytes);
        try
        {
            nint read = Libc.Pread(file.Value, (byte*)page + SectorBytes, SectorBytes, length > SectorBytes ? SectorBytes : 0);
            return read < 0 ? (int)-read : 0;
        }
        finally
        {
            NativeMemory.AlignedFree(page);
        }
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing) _file.Dispose();
    }
}
