using Blkring.Commands.Demo.Options;
using Blkring.Engine.Disks;
using Blkring.Interop;

namespace Blkring.Commands.Demo.Devices;

/// <summary>Opens the disk that the demo serves. A temporary image never outlives the demo.</summary>
internal static class DemoDisk
{
    public const long TemporaryBytes = 256L << 20;

    /// <summary>4 GiB: the guest remembers what each sector holds, which takes 4 bytes per sector.</summary>
    public const long MaxSectors = 8L << 20;

    /// <summary>On a smaller image, requests would mostly wait for each other.</summary>
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
        throw new UsageException(
            $"--write was given, but the image can only be read: {description}; make it writable or leave --write out"
        );
    }

    /// <summary>
    /// The image is unlinked as soon as it is open, so that nothing is left behind, however the process ends. Until
    /// then, an interruption removes it.
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
            throw new UsageException($"{path} cannot be created: name an image with --image, or set TMPDIR");
        // Allocated now: a file system that runs full in the middle of a run would look like a fault of the backend.
        int error = Libc.Fallocate(file.Value, 0, 0, TemporaryBytes);
        if (error == -Errno.EOPNOTSUPP)
            error = Libc.Ftruncate(file.Value, TemporaryBytes);
        if (error < 0)
        {
            throw new UsageException(
                $"{TemporaryBytes >> 20} MiB cannot be allocated for {path} ({Errno.Describe(error)}): "
                    + "free some space, set TMPDIR, name an image with --image, or use --disk memory"
            );
        }
    }
}
