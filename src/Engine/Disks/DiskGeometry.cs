using System.Globalization;
using Blkring.Engine.Memory;
using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// What a store is good at, for the frontend to know: it may ask for anything at 512-byte granularity all the same.
/// </summary>
/// <param name="LogicalSectorBytes">The least that the store itself takes.</param>
/// <param name="PhysicalSectorBytes">The least that is written without being read first.</param>
/// <param name="DiscardGranularityBytes">The least that a discard frees.</param>
/// <param name="DiscardAlignmentBytes">Where the first such unit starts.</param>
public readonly record struct DiskGeometry(
    int LogicalSectorBytes,
    int PhysicalSectorBytes,
    int DiscardGranularityBytes,
    int DiscardAlignmentBytes
)
{
    private const int MaxUnitBytes = 1 << 30;

    /// <summary>Asks the file or device; what it does not tell is taken to be one sector.</summary>
    public static DiskGeometry Of(FileDescriptor file, bool blockDevice)
    {
        if (Libc.Fstatx(file.Value, Libc.STATX_BASIC_STATS, out statx status) < 0)
            return new DiskGeometry(Disk.SectorBytes, Disk.SectorBytes, Disk.SectorBytes, 0);
        if (!blockDevice)
        {
            // st_blksize is what a file system likes best, which can be far more than its block.
            int block = (int)Math.Clamp(status.stx_blksize, Disk.SectorBytes, Arena.PageBytes);
            return new DiskGeometry(Disk.SectorBytes, block, block, 0);
        }
        int logical = QueryBytes(file, Libc.BLKSSZGET),
            physical = QueryBytes(file, Libc.BLKPBSZGET);
        string device = string.Create(
            CultureInfo.InvariantCulture,
            $"/sys/dev/block/{status.stx_rdev_major}:{status.stx_rdev_minor}"
        );
        int granularity = ReadLimit(device, "queue/discard_granularity");
        return new DiskGeometry(
            logical,
            physical,
            granularity == 0 ? physical : granularity,
            ReadLimit(device, "discard_alignment")
        );
    }

    private static unsafe int QueryBytes(FileDescriptor file, uint request)
    {
        int bytes = 0;
        return Libc.Ioctl(file.Value, request, &bytes) >= 0 && bytes >= Disk.SectorBytes ? bytes : Disk.SectorBytes;
    }

    /// <summary>A number that sysfs has of a device, in bytes; 0 when it has none.</summary>
    /// <param name="device">The device's folder, or a link to it.</param>
    internal static int ReadLimit(string device, string name)
    {
        try
        {
            // A partition has its disk's queue: the folder above, of where the link leads.
            string folder = Directory.ResolveLinkTarget(device, returnFinalTarget: true)?.FullName ?? device;
            string path = Path.Combine(folder, name);
            if (!File.Exists(path))
                path = Path.Combine(folder, "..", name);
            string text = File.ReadAllText(path);
            return
                int.TryParse(text.AsSpan().Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out int value)
                && value <= MaxUnitBytes
                ? value
                : 0;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }
}
