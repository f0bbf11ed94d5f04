using System.Diagnostics;
using System.Runtime.InteropServices;
using Blkring.Engine.Memory;
using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>Which cache stands between the guest and the store.</summary>
public enum CacheMode
{
    /// <summary>O_DIRECT where the file allows it at 512-byte granularity, else the page cache.</summary>
    None,

    /// <summary>O_DIRECT or an error.</summary>
    Direct,

    /// <summary>The page cache; a flush still reaches stable storage (fdatasync).</summary>
    Writeback,

    /// <summary>The page cache for reads; every write is on stable storage before it is answered (O_DSYNC).</summary>
    Writethrough,
}

public sealed class FileDiskOptions
{
    /// <summary>
    /// False opens read-only whatever the file allows. True is refused where this process may not write; a file without
    /// a write bit and a device that says so itself are read-only all the same.
    /// </summary>
    public bool Writable { get; init; }
    public CacheMode Cache { get; init; } = CacheMode.None;

    /// <summary>4096 treats the file as one on a 4Kn disk, whatever it would allow.</summary>
    public int LeastAlignmentBytes { get; init; } = Disk.SectorBytes;

    /// <summary>
    /// False: others may write the image at the same time, on purpose. See <see cref="FileDisk.Lock"/>.
    /// </summary>
    public bool Lock { get; init; } = true;

    /// <summary>How long an image that somebody else holds is waited for.</summary>
    public TimeSpan LockPatience { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>A shorter image is refused.</summary>
    public long MinLengthBytes { get; init; } = Disk.SectorBytes;
}

/// <summary>An image or device that cannot be served; the message is one line that names what to do.</summary>
public sealed class ImageException(string message, bool inUse = false) : Exception(message)
{
    /// <summary>Somebody else holds the image: what was refused may be had later.</summary>
    public bool InUse => inUse;
}

/// <summary>
/// A raw image file or a block device. Each queue gets its own data plane: io_uring, or pread and pwrite where that is
/// refused.
/// </summary>
public sealed class FileDisk : Disk
{
    private static readonly TimeSpan s_betweenLocks = TimeSpan.FromMilliseconds(20);

    private readonly FileDescriptor _file;
    private readonly DiscardThread _discards;
    private readonly string _access;

    private FileDisk(
        string path,
        FileDescriptor file,
        long lengthBytes,
        bool readOnly,
        int alignment,
        bool direct,
        bool blockDevice,
        string access
    )
        : base(lengthBytes >> SectorShift, readOnly)
    {
        (Path, _file, Direct, IsBlockDevice, _access) = (path, file, direct, blockDevice, access);
        _discards = new DiscardThread(file);
        IsInMemory =
            !blockDevice
            && Libc.Fstatfs(file.Value, out statfs fileSystem) >= 0
            && fileSystem.f_type == Libc.TMPFS_MAGIC;
        AlignmentBytes = alignment;
        // Of a file, punching is all there is.
        if (blockDevice)
            LastDiscardMethod = DiscardMethod.Ioctl;
        DiskGeometry geometry = DiskGeometry.Of(file, blockDevice);
        LogicalSectorBytes = Math.Max(geometry.LogicalSectorBytes, alignment);
        PhysicalSectorBytes = Math.Max(geometry.PhysicalSectorBytes, LogicalSectorBytes);
        DiscardBlockBytes = blockDevice ? geometry.LogicalSectorBytes : SectorBytes;
        DiscardGranularityBytes = Math.Max(geometry.DiscardGranularityBytes, alignment);
        DiscardAlignmentBytes = geometry.DiscardAlignmentBytes;
    }

    public string Path { get; }

    /// <summary>O_DIRECT is in use.</summary>
    public bool Direct { get; }
    public bool IsBlockDevice { get; }

    /// <summary>
    /// The file system is tmpfs. It knows no transfer that never waits, so io_uring hands each one to a worker thread,
    /// which costs more than the transfer: they are done at once instead.
    /// </summary>
    public bool IsInMemory { get; }

    // fallocate(2): a punched hole reads as zeros, in a file and on a block device. Of a block that is discarded in
    // part nothing goes.
    public override bool DiscardZeroes => DiscardMethod == DiscardMethod.PunchHole && DiscardBlockBytes == SectorBytes;

    /// <summary>The store's length now, in bytes: it may have grown since it was opened.</summary>
    /// <exception cref="ImageException">It cannot be asked any more.</exception>
    public long MeasureBytes() => LengthOf(Path, _file, IsBlockDevice);

    public override bool PinsPages => Direct && !IsInMemory;

    public override string Describe() =>
        $"{(IsBlockDevice ? "block device" : "raw image")} {Path}, {CapacitySectors} sectors, {_access}{(IsInMemory ? ", in memory" : "")}";

    /// <summary>
    /// Keeps others from writing the image (flock(2)): readers share it, a writer is alone. It lasts as long as
    /// anything uses the open file, so that a process that was killed holds it until the kernel is done with the last
    /// of its requests: who then gets the lock comes after them. Where the file system knows no locks there is none.
    /// </summary>
    /// <exception cref="ImageException">
    /// Somebody else had it all the time, as <see cref="ImageException.InUse"/> says.
    /// </exception>
    public void Lock(TimeSpan patience)
    {
        long start = Stopwatch.GetTimestamp();
        while (true)
        {
            int error = Libc.Flock(_file.Value, (ReadOnly ? Libc.LOCK_SH : Libc.LOCK_EX) | Libc.LOCK_NB);
            if (error != -Errno.EAGAIN && error != -Errno.EINTR)
                return;
            if (Stopwatch.GetElapsedTime(start) >= patience)
                throw InUse(Path, ReadOnly);
            Thread.Sleep(s_betweenLocks);
        }
    }

    private static ImageException InUse(string path, bool readOnly) =>
        new(
            readOnly
                ? $"{path} is being written by somebody else ('lsof {path}' tells who): stop them, or share the image on purpose with --lock no"
                : $"{path} is in use by somebody else ('lsof {path}' tells who): stop them, attach it read-only everywhere, or share it on purpose with --lock no",
            inUse: true
        );

    public override TResult Accept<TResult>(IDiskVisitor<TResult> visitor) =>
        visitor.Visit(new FileDiskIo(_file, _discards, IsInMemory));

    /// <summary>Opens and checks an image.</summary>
    /// <exception cref="ImageException">It cannot be served, with the reason and the remedy in one line.</exception>
    public static FileDisk Open(string path, FileDiskOptions options)
    {
        (bool blockDevice, ushort mode) = Inspect(path);

        // Root may write what nobody may; a file without a write bit was made read-only on purpose.
        bool writable =
            options.Writable
            && (
                mode & 0x92 /* 0222 */
            ) != 0;
        string note =
            options.Writable && !writable ? "its mode has no write permission"
            : options.Writable ? ""
            : "as asked";

        FileDescriptor? file = null;
        int sync = options.Cache == CacheMode.Writethrough ? Libc.O_DSYNC : 0;
        if (writable)
        {
            int errno = TryOpen(path, Libc.O_RDWR | sync, out file);
            // A guest that was promised a disk to write to would find out by an error in the middle of its work.
            if (errno is Errno.EACCES or Errno.EPERM or Errno.EROFS)
                throw NotWritable(path, errno);
            if (errno != 0)
                throw OpenFailed(path, errno);
        }
        if (file is null)
        {
            int errno = TryOpen(path, Libc.O_RDONLY, out file);
            if (errno != 0)
                throw OpenFailed(path, errno);
        }

        try
        {
            long length = LengthOf(path, file!, blockDevice);
            CheckLength(path, length, options.MinLengthBytes);
            if (blockDevice && writable && IsReadOnlyDevice(file!))
                (writable, note) = (false, "the device is read-only");
            (file, bool direct, int alignment, string why) = ChooseCache(path, file!, length, writable, options);
            string access = writable ? "read-write" : $"read-only ({note})";
            FileDisk disk = new(
                path,
                file,
                length,
                !writable,
                alignment,
                direct,
                blockDevice,
                $"{access}, {(direct ? "O_DIRECT" : "buffered")} ({why})"
            );
            if (options.Lock)
                disk.Lock(options.LockPatience);
            return disk;
        }
        catch
        {
            file?.Dispose();
            throw;
        }
    }

    private static unsafe (bool BlockDevice, ushort Mode) Inspect(string path)
    {
        if (string.IsNullOrEmpty(path))
            throw new ImageException("the image path is empty: name a raw image file or a block device");
        int result = Libc.Statx(path, 0, Libc.STATX_TYPE | Libc.STATX_MODE, out statx status);
        if (result < 0)
            throw OpenFailed(path, -result);
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

    private static ImageException OpenFailed(string path, int errno) =>
        new(
            errno switch
            {
                // A file made in /dev would be gone with the next boot.
                Errno.ENOENT or Errno.ENOTDIR when path.StartsWith("/dev/", StringComparison.Ordinal) =>
                    $"{path} does not exist: check the path, and that the device or volume is there",
                Errno.ENOENT or Errno.ENOTDIR =>
                    $"{path} does not exist: check the path, or make an image with 'truncate -s 1G {path}'",
                Errno.EACCES or Errno.EPERM =>
                    $"{path} cannot be read: {Errno.Describe(errno)}; give this user read permission",
                _ => $"{path} cannot be opened: {Errno.Describe(errno)}",
            }
        );

    private static ImageException NotWritable(string path, int errno)
    {
        int reading = TryOpen(path, Libc.O_RDONLY, out FileDescriptor? file);
        file?.Dispose();
        if (reading != 0)
            return OpenFailed(path, reading);
        string remedy =
            errno == Errno.EROFS
                ? "make its file system writable; where a unit of systemd runs this, its ReadWritePaths= says which folders are"
                : "give this user write permission";
        return new ImageException(
            $"{path} may not be written: {Errno.Describe(errno)}; attach it read-only, or {remedy}"
        );
    }

    private static unsafe long LengthOf(string path, FileDescriptor file, bool blockDevice)
    {
        if (!blockDevice)
        {
            int result = Libc.Fstatx(file.Value, Libc.STATX_SIZE, out statx status);
            return result < 0 ? throw OpenFailed(path, -result) : (long)status.stx_size;
        }
        ulong length = 0;
        int error = Libc.Ioctl(file.Value, Libc.BLKGETSIZE64, &length);
        if (error < 0)
            throw new ImageException($"the length of {path} cannot be read (BLKGETSIZE64): {Errno.Describe(-error)}");
        return (long)length;
    }

    private static void CheckLength(string path, long length, long minimum)
    {
        if (length == 0)
            throw new ImageException($"{path} is empty: give it a length, for example with 'truncate -s 1G {path}'");
        if (length % SectorBytes != 0)
        {
            throw new ImageException(
                $"{path} is {length} bytes long, not a whole number of {SectorBytes}-byte sectors: lengthen it with 'truncate -s %{SectorBytes} {path}'"
            );
        }
        if (length < minimum)
            throw new ImageException(
                $"{path} is too small: {length} bytes, at least {minimum} are needed; lengthen it with 'truncate -s {minimum} {path}'"
            );
    }

    private static unsafe bool IsReadOnlyDevice(FileDescriptor file)
    {
        int readOnly = 0;
        return Libc.Ioctl(file.Value, Libc.BLKROGET, &readOnly) >= 0 && readOnly != 0;
    }

    /// <summary>
    /// O_DIRECT is a property of an open file: the choice may open it once more. It is taken if a read of one 512-byte
    /// sector works, or of one of 4096 bytes, which queues then see to; asking the file beats trusting what its
    /// filesystem declares.
    /// </summary>
    private static (FileDescriptor File, bool Direct, int Alignment, string Why) ChooseCache(
        string path,
        FileDescriptor file,
        long length,
        bool writable,
        FileDiskOptions options
    )
    {
        CacheMode cache = options.Cache;
        int alignment =
            length % options.LeastAlignmentBytes == 0
                ? options.LeastAlignmentBytes
                : throw new ImageException(
                    $"{path} is {length} bytes long, not a multiple of {options.LeastAlignmentBytes}"
                );
        if (cache == CacheMode.Writeback)
            return (file, false, alignment, "as asked");
        if (cache == CacheMode.Writethrough)
            return (file, false, alignment, "each write on stable storage, as asked");

        int errno = TryOpen(path, (writable ? Libc.O_RDWR : Libc.O_RDONLY) | Libc.O_DIRECT, out FileDescriptor? direct);
        if (errno == 0)
        {
            errno = TryReadOneSector(direct!, length, alignment);
            if (errno == Errno.EINVAL && alignment < Arena.PageBytes && length % Arena.PageBytes == 0)
                errno = TryReadOneSector(direct!, length, alignment = Arena.PageBytes);
            if (errno == 0)
            {
                file.Dispose();
                string sectors = alignment == SectorBytes ? "" : $", in whole sectors of {alignment} bytes";
                return (
                    direct!,
                    true,
                    alignment,
                    (cache == CacheMode.Direct ? "as asked" : "the file allows it") + sectors
                );
            }
            direct!.Dispose();
        }
        string why =
            errno == Errno.EINVAL ? $"no O_DIRECT at {SectorBytes}-byte sectors" : "O_DIRECT: " + Errno.Describe(errno);
        if (cache == CacheMode.Direct)
            throw new ImageException($"{path} cannot be opened with O_DIRECT ({why}): use the page cache instead");
        return (file, false, options.LeastAlignmentBytes, why);
    }

    /// <summary>
    /// One sector to a place, and where there is one from a place, that are aligned to a sector and to nothing more.
    /// </summary>
    private static unsafe int TryReadOneSector(FileDescriptor file, long length, int sectorBytes)
    {
        void* page = NativeMemory.AlignedAlloc(2 * Arena.PageBytes, Arena.PageBytes);
        try
        {
            nint read = KillableRead.Read(
                file,
                (byte*)page + sectorBytes,
                sectorBytes,
                length > sectorBytes ? sectorBytes : 0
            );
            return read < 0 ? (int)-read : 0;
        }
        finally
        {
            NativeMemory.AlignedFree(page);
        }
    }

    protected override void Dispose(bool disposing)
    {
        if (!disposing)
            return;
        _discards.Dispose();
        // A ring may let go of a registered file only later; nothing is under way any more.
        _ = Libc.Flock(_file.Value, Libc.LOCK_UN);
        _file.Dispose();
    }
}
