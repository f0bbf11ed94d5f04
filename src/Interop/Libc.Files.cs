using System.Runtime.InteropServices;

namespace Blkring.Interop;

/// <summary>struct iovec (bits/types/struct_iovec.h): 16 bytes.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
public unsafe struct iovec
{
    [FieldOffset(0)]
    public void* iov_base;

    [FieldOffset(8)]
    public nuint iov_len;
}

/// <summary>struct statx_timestamp (linux/stat.h): 16 bytes.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
public struct statx_timestamp
{
    [FieldOffset(0)]
    public long tv_sec;

    [FieldOffset(8)]
    public uint tv_nsec;
}

/// <summary>
/// struct statx (linux/stat.h): 256 bytes on every architecture. Fields after stx_dio_offset_align are omitted.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 256)]
public struct statx
{
    [FieldOffset(0)]
    public uint stx_mask;

    [FieldOffset(4)]
    public uint stx_blksize;

    [FieldOffset(8)]
    public ulong stx_attributes;

    [FieldOffset(16)]
    public uint stx_nlink;

    [FieldOffset(20)]
    public uint stx_uid;

    [FieldOffset(24)]
    public uint stx_gid;

    [FieldOffset(28)]
    public ushort stx_mode;

    [FieldOffset(32)]
    public ulong stx_ino;

    [FieldOffset(40)]
    public ulong stx_size;

    /// <summary>Allocated, in 512-byte units.</summary>
    [FieldOffset(48)]
    public ulong stx_blocks;

    [FieldOffset(56)]
    public ulong stx_attributes_mask;

    [FieldOffset(64)]
    public statx_timestamp stx_atime;

    [FieldOffset(80)]
    public statx_timestamp stx_btime;

    [FieldOffset(96)]
    public statx_timestamp stx_ctime;

    [FieldOffset(112)]
    public statx_timestamp stx_mtime;

    [FieldOffset(128)]
    public uint stx_rdev_major;

    [FieldOffset(132)]
    public uint stx_rdev_minor;

    [FieldOffset(136)]
    public uint stx_dev_major;

    [FieldOffset(140)]
    public uint stx_dev_minor;

    [FieldOffset(144)]
    public ulong stx_mnt_id;

    /// <summary>
    /// O_DIRECT: alignment of the memory in bytes; 0 if the file does not support O_DIRECT. Valid with STATX_DIOALIGN
    /// in stx_mask (Linux 6.1).
    /// </summary>
    [FieldOffset(152)]
    public uint stx_dio_mem_align;

    /// <summary>O_DIRECT: alignment of offset and length in bytes.</summary>
    [FieldOffset(156)]
    public uint stx_dio_offset_align;
}

/// <summary>struct statfs (bits/statfs.h) of a 64-bit Linux: 120 bytes.</summary>
[StructLayout(LayoutKind.Explicit, Size = 120)]
public struct statfs
{
    [FieldOffset(0)]
    public long f_type;

    [FieldOffset(8)]
    public long f_bsize;

    [FieldOffset(16)]
    public ulong f_blocks;

    [FieldOffset(24)]
    public ulong f_bfree;

    [FieldOffset(32)]
    public ulong f_bavail;

    [FieldOffset(40)]
    public ulong f_files;

    [FieldOffset(48)]
    public ulong f_ffree;

    /// <summary>Of ext4, btrfs and tmpfs made of the file system's UUID; 0 where there is none, as on NFS.</summary>
    [FieldOffset(56)]
    public ulong f_fsid;

    [FieldOffset(64)]
    public long f_namelen;

    [FieldOffset(72)]
    public long f_frsize;

    [FieldOffset(80)]
    public long f_flags;
}

public static unsafe partial class Libc
{
    // fcntl.h, bits/fcntl-linux.h
    public const int O_RDONLY = 0;
    public const int O_WRONLY = 1;
    public const int O_RDWR = 2;
    public const int O_CREAT = 0x40;
    public const int O_EXCL = 0x80;
    public const int O_TRUNC = 0x200;
    public const int O_NONBLOCK = 0x800;
    public const int O_DSYNC = 0x1000;
    public const int O_CLOEXEC = 0x80000;
    public const int O_PATH = 0x200000;

    // sys/file.h
    public const int LOCK_SH = 1;
    public const int LOCK_EX = 2;
    public const int LOCK_NB = 4;
    public const int LOCK_UN = 8;

    /// <summary>Not a constant: asm/fcntl.h gives 0x4000 on x86 and 0x10000 on arm and arm64.</summary>
    public static readonly int O_DIRECT = RuntimeInformation.ProcessArchitecture
        is Architecture.Arm64
            or Architecture.Arm
        ? 0x10000
        : 0x4000;
    public const int AT_FDCWD = -100;
    public const int AT_EMPTY_PATH = 0x1000;
    public const int AT_SYMLINK_NOFOLLOW = 0x100;

    // linux/falloc.h
    public const int FALLOC_FL_KEEP_SIZE = 0x01;
    public const int FALLOC_FL_PUNCH_HOLE = 0x02;
    public const int FALLOC_FL_ZERO_RANGE = 0x10;

    // linux/stat.h
    public const uint STATX_TYPE = 0x1;
    public const uint STATX_MODE = 0x2;
    public const uint STATX_INO = 0x100;
    public const uint STATX_SIZE = 0x200;
    public const uint STATX_BLOCKS = 0x400;
    public const uint STATX_BASIC_STATS = 0x7ff;
    public const uint STATX_BTIME = 0x800;
    public const uint STATX_DIOALIGN = 0x2000;
    public const ushort S_IFMT = 0xf000;
    public const ushort S_IFDIR = 0x4000;
    public const ushort S_IFBLK = 0x6000;
    public const ushort S_IFREG = 0x8000;
    public const ushort S_IFSOCK = 0xc000;

    // linux/stat.h: permission bits, three per class as in the octal notation that C# lacks
    public const ushort S_IRUSR = 0b100_000_000;
    public const ushort S_IWUSR = 0b010_000_000;
    public const ushort S_IWGRP = 0b000_010_000;
    public const ushort S_IWOTH = 0b000_000_010;

    // linux/fs.h
    public const uint BLKROGET = 0x125e;
    public const uint BLKSSZGET = 0x1268;
    public const uint BLKDISCARD = 0x1277;
    public const uint BLKIOMIN = 0x1278;
    public const uint BLKIOOPT = 0x1279;
    public const uint BLKALIGNOFF = 0x127a;
    public const uint BLKPBSZGET = 0x127b;
    public const uint BLKDISCARDZEROES = 0x127c;
    public const uint BLKSECDISCARD = 0x127d;
    public const uint BLKZEROOUT = 0x127f;
    public const uint BLKGETSIZE64 = 0x80081272;

    /// <summary>linux/fs.h: the inode's generation, an int in spite of the long in the number.</summary>
    public const uint FS_IOC_GETVERSION = 0x80087601;

    public const int RWF_HIPRI = 0x1;
    public const int RWF_DSYNC = 0x2;
    public const int RWF_NOWAIT = 0x8;

    // linux/magic.h: statfs.f_type
    public const long EXT4_SUPER_MAGIC = 0xef53;
    public const long XFS_SUPER_MAGIC = 0x58465342;
    public const long BTRFS_SUPER_MAGIC = 0x9123683e;
    public const long TMPFS_MAGIC = 0x01021994;
    public const long NFS_SUPER_MAGIC = 0x6969;
    public const long OVERLAYFS_SUPER_MAGIC = 0x794c7630;

    [LibraryImport(Library, SetLastError = true)]
    private static partial int open(byte* pathname, int flags, uint mode);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int close(int fd);

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint read(int fd, byte* buf, nuint count);

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint write(int fd, byte* buf, nuint count);

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint pread(int fd, byte* buf, nuint count, long offset);

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint pwrite(int fd, byte* buf, nuint count, long offset);

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint preadv(int fd, iovec* iov, int iovcnt, long offset);

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint pwritev(int fd, iovec* iov, int iovcnt, long offset);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int fallocate(int fd, int mode, long offset, long len);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int fdatasync(int fd);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int ftruncate(int fd, long length);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int flock(int fd, int operation);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int statx(int dirfd, byte* pathname, int flags, uint mask, statx* statxbuf);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int fstatfs(int fd, statfs* buf);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int ioctl(int fd, nuint request, void* argument);

    /// <summary>open(2) with O_CLOEXEC always: a descriptor or -errno.</summary>
    public static int Open(string path, int flags, uint mode = 0)
    {
        fixed (byte* bytes = PathBytes(path))
            return Result(open(bytes, flags | O_CLOEXEC, mode));
    }

    /// <summary>
    /// close(2): 0 or -errno; the descriptor is closed even after -EINTR. <see cref="FileDescriptor"/> does this for
    /// its owner.
    /// </summary>
    public static int Close(int fd) => Result(close(fd));

    /// <summary>read(2): bytes, 0 at the end, or -errno.</summary>
    public static nint Read(int fd, byte* buffer, nuint count) => Result(read(fd, buffer, count));

    /// <summary>write(2): bytes or -errno.</summary>
    public static nint Write(int fd, byte* buffer, nuint count) => Result(write(fd, buffer, count));

    /// <summary>pread(2): bytes, 0 at the end, or -errno. Offset in bytes.</summary>
    public static nint Pread(int fd, byte* buffer, nuint count, long offset) =>
        Result(pread(fd, buffer, count, offset));

    /// <summary>pwrite(2): bytes or -errno. Offset in bytes.</summary>
    public static nint Pwrite(int fd, byte* buffer, nuint count, long offset) =>
        Result(pwrite(fd, buffer, count, offset));

    /// <summary>preadv(2): bytes or -errno; at most 1024 vectors (UIO_MAXIOV).</summary>
    public static nint Preadv(int fd, iovec* vectors, int count, long offset) =>
        Result(preadv(fd, vectors, count, offset));

    /// <summary>pwritev(2): bytes or -errno; at most 1024 vectors (UIO_MAXIOV).</summary>
    public static nint Pwritev(int fd, iovec* vectors, int count, long offset) =>
        Result(pwritev(fd, vectors, count, offset));

    /// <summary>fallocate(2): 0 or -errno; -EOPNOTSUPP if the file system does not support the mode.</summary>
    public static int Fallocate(int fd, int mode, long offset, long lengthBytes) =>
        Result(fallocate(fd, mode, offset, lengthBytes));

    /// <summary>
    /// fdatasync(2): 0 or -errno. After an error the data may be lost: a retry that succeeds proves nothing.
    /// </summary>
    public static int Fdatasync(int fd) => Result(fdatasync(fd));

    /// <summary>ftruncate(2): 0 or -errno.</summary>
    public static int Ftruncate(int fd, long lengthBytes) => Result(ftruncate(fd, lengthBytes));

    /// <summary>
    /// flock(2): 0 or -errno; -EAGAIN with LOCK_NB if the lock is held. The lock belongs to the open file and lasts
    /// until its last reference is gone, including those of requests that the kernel has in flight.
    /// </summary>
    public static int Flock(int fd, int operation) => Result(flock(fd, operation));

    /// <summary>statx(2) of an open descriptor: 0 or -errno. stx_mask says which fields were filled.</summary>
    public static int Fstatx(int fd, uint mask, out statx status)
    {
        byte empty = 0;
        fixed (statx* pinned = &status)
            return Result(statx(fd, &empty, AT_EMPTY_PATH, mask, pinned));
    }

    /// <summary>statx(2) of a path: 0 or -errno.</summary>
    public static int Statx(string path, int flags, uint mask, out statx status)
    {
        fixed (byte* bytes = PathBytes(path))
        fixed (statx* pinned = &status)
            return Result(statx(AT_FDCWD, bytes, flags, mask, pinned));
    }

    [LibraryImport(Library, SetLastError = true)]
    private static partial int setxattr(byte* path, byte* name, void* value, nuint size, int flags);

    /// <summary>setxattr(2), which follows links: 0 or -errno.</summary>
    public static int Setxattr(string path, string name, ReadOnlySpan<byte> value)
    {
        fixed (byte* pathname = PathBytes(path))
        fixed (byte* attribute = PathBytes(name))
        fixed (byte* bytes = value)
            return Result(setxattr(pathname, attribute, bytes, (nuint)value.Length, 0));
    }

    /// <summary>fstatfs(2): 0 or -errno.</summary>
    public static int Fstatfs(int fd, out statfs status)
    {
        fixed (statfs* pinned = &status)
            return Result(fstatfs(fd, pinned));
    }

    /// <summary>
    /// ioctl(2): result or -errno. The argument's type is the request's: BLKGETSIZE64 ulong, BLKSSZGET int, BLKPBSZGET
    /// uint, BLKROGET int, BLKDISCARD two ulong (offset and length in bytes).
    /// </summary>
    public static int Ioctl(int fd, uint request, void* argument) => Result(ioctl(fd, request, argument));

    /// <summary>
    /// ioctl BLKDISCARD: 0 or -errno; -EOPNOTSUPP if the device cannot discard, -ENOTTY if it is not a block device.
    /// </summary>
    public static int IoctlDiscard(int fd, long offset, long lengthBytes)
    {
        ulong* range = stackalloc ulong[2] { (ulong)offset, (ulong)lengthBytes };
        return Ioctl(fd, BLKDISCARD, range);
    }
}
