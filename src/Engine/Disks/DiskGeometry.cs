using System.Globalization;
using Blkring.Engine.Memory;
using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// The block sizes of a store, which are announced to the frontend. They are advice: the frontend may still send
/// requests at 512-byte granularity.
/// </summary>
/// <param name="LogicalSectorBytes">The smallest unit that the store accepts.</param>
/// <param name="PhysicalSectorBytes">The smallest unit that the store writes without reading it first.</param>
/// <param name="DiscardGranularityBytes">The smallest unit that a discard frees.</param>
/// <param name="DiscardAlignmentBytes">The offset of the first such unit from the start of the disk.</param>
public readonly record struct DiskGeometry(
    int LogicalSectorBytes,
    int PhysicalSectorBytes,
    int DiscardGranularityBytes,
    int DiscardAlignmentBytes
)
{
    private const int MaxUnitBytes = 1 << 30;

    /// <summary>Asks the file or device; a value that it does not report is one sector.</summary>
    public static DiskGeometry Of(FileDescriptor file, bool blockDevice)
    {
        if (Libc.Fstatx(file.Value, Libc.STATX_BASIC_STATS, out statx status) < 0)
            return new DiskGeometry(Disk.SectorBytes, Disk.SectorBytes, Disk.SectorBytes, 0);
        if (!blockDevice)
        {
            // st_blksize is the preferred size of I/O, which can be far more than the file system's block.
            int block = (int)Math.Clamp(status.stx_blksize, Disk.SectorBytes, Arena.PageBytes);
            return new DiskGeometry(Disk.SectorBytes, block, block, 0);
        }
        int logical = QueryBytes(file, Libc.BLKSSZGET),
            physical = QueryBytes(file, Libc.BLKPBSZGET);
        string device = Sysfs.LinkOf(Sysfs.NumberOf(in status));
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

    /// <summary>One of the limits that sysfs has for a device, in bytes; 0 if it has none.</summary>
    /// <param name="device">The device's folder in sysfs, or a link to it.</param>
    internal static int ReadLimit(string device, string name)
    {
        // A partition has no queue of its own: the disk's is in the folder above the link's target.
        string folder = Sysfs.TargetOf(device);
        string? text = Sysfs.TryRead(Path.Combine(folder, name)) ?? Sysfs.TryRead(Path.Combine(folder, "..", name));
        return
            int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value) && value <= MaxUnitBytes
            ? value
            : 0;
    }
}
