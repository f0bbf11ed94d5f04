using Blkring.Engine.Disks;
using Blkring.Interop;

namespace Blkring.Commands.Demo;

/// <summary>Opens what the demo serves, and sees to it that a temporary image never stays behind.</summary>
internal static class DemoDisk
{
    public const long TemporaryBytes = 256L << 20;

    /// <summary>The model of what each sector holds takes 4 bytes a sector: 32 MiB for this many (4 GiB).</summary>
    public const long MaxSectors = 8L << 20;

    /// <summary>Below this, requests would mostly wait for each other.</summary>
    private const long MinImageBytes = 1 << 20;

    /// <exception cref="ImageException">The image cannot be served.</exception>
    public static Disk Open(DemoOptions options, int sectorBytes, Interruption interruption)
    {
        if (options.Disk == DiskKind.Memory)
            return new MemoryDisk(TemporaryBytes >> Disk.SectorShift, sectorBytes: sectorBytes);
        return options.Image is { } path
            ? OpenNamed(path, options, sectorBytes)
            : OpenTemporary(options, sectorBytes, interruption);
    }

    private static FileDisk OpenNamed(string path, DemoOptions options, int sectorBytes)
    {
        if (options.Write)
            CheckNotInUse(path);
        FileDisk disk = FileDisk.Open(
            path,
            new FileDiskOptions
            {
                Writable = options.Write,
                Cache = options.Cache,
                MinLengthBytes = MinImageBytes,
                MinAlignmentBytes = sectorBytes,
            }
        );
        if (!options.Write || !disk.ReadOnly)
            return disk;
        string description = disk.Describe();
        disk.Dispose();
        throw new ImageException(
            $"--write was given, but this is all that can be had: {description}; make it writable or leave --write out"
        );
    }

    /// <summary>A mounted device refuses O_EXCL: overwriting it would destroy a filesystem in use.</summary>
    private static void CheckNotInUse(string path)
    {
        if (
            Libc.Statx(path, 0, Libc.STATX_TYPE, out statx status) < 0
            || (status.stx_mode & Libc.S_IFMT) != Libc.S_IFBLK
        )
            return;
        int fd = Libc.Open(path, Libc.O_RDWR | Libc.O_EXCL);
        if (fd == -Errno.EBUSY)
            throw new ImageException($"{path} is in use (mounted, or part of another device): it is not written");
        if (fd >= 0)
            Libc.Close(fd);
    }

    /// <summary>
    /// The image loses its name as soon as it is open, so that nothing is left behind however the process ends; until
    /// then an interruption removes it.
    /// </summary>
    private static FileDisk OpenTemporary(DemoOptions options, int sectorBytes, Interruption interruption)
    {
        using TemporaryFolder folder = new(interruption);
        string path = folder.File("demo.img");
        MakeImage(path);
        return FileDisk.Open(
            path,
            new FileDiskOptions
            {
                Writable = true,
                Cache = options.Cache,
                MinAlignmentBytes = sectorBytes,
            }
        );
    }

    private static void MakeImage(string path)
    {
        using FileDescriptor file = new(
            Libc.Open(path, Libc.O_RDWR | Libc.O_CREAT | Libc.O_EXCL, mode: Libc.S_IRUSR | Libc.S_IWUSR)
        );
        if (file.IsInvalid)
            throw new ImageException($"{path} cannot be made: name an image with --image, or set TMPDIR");
        // Taken now: a filesystem that runs full in the middle of a run would look like a fault of the backend.
        int error = Libc.Fallocate(file.Value, 0, 0, TemporaryBytes);
        if (error == -Errno.EOPNOTSUPP)
            error = Libc.Ftruncate(file.Value, TemporaryBytes);
        if (error < 0)
        {
            throw new ImageException(
                $"{path} cannot be given {TemporaryBytes >> 20} MiB ({Errno.Describe(error)}): "
                    + "make room, set TMPDIR, name an image with --image, or use --disk memory"
            );
        }
    }
}
