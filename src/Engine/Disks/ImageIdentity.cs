using System.Globalization;
using System.Text;
using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// Which image it is, whatever path leads to it: what comes back under the path of a running guest's disk may be
/// another one. A file is known by its file system's UUID, its inode and the inode's generation; a block device by its
/// WWID, dm UUID or serial number; both by their length. Never by st_dev, which is given out anew at each mount.
/// </summary>
/// <param name="Name">Without spaces.</param>
/// <param name="IsUnique">
/// The name is this image's alone. If not, as on NFS, where no file system has a UUID, the length must be the same too.
/// </param>
public sealed record ImageIdentity(string Name, bool IsUnique, long LengthBytes)
{
    /// <summary>Names of this form are comparable with each other only.</summary>
    private const string Form = "image-1";

    /// <summary>FS_IOC_GETFSUUID of linux/fs.h (Linux 6.9): a byte of length, 16 bytes of UUID.</summary>
    private const uint GetFileSystemUuid = 0x80111500;

    /// <summary>XFS_IOC_FSGEOMETRY_V1 of xfs_fs.h, from xfslibs-dev: struct xfs_fsop_geom_v1.</summary>
    private const uint GetXfsGeometry = 0x80705864;

    private const int XfsGeometryBytes = 112,
        XfsUuidAt = 64,
        UuidBytes = 16;

    /// <summary>Files in a device's folder of sysfs that say which device it is, the best first.</summary>
    private static readonly string[] s_blockNames =
    [
        "dm/uuid",
        "md/uuid",
        "wwid",
        "device/wwid",
        "serial",
        "device/serial",
        "device/cid",
        "loop/backing_file",
    ];

    /// <returns>Null if the descriptor says nothing.</returns>
    internal static ImageIdentity? Of(FileDescriptor file, bool isBlockDevice, long lengthBytes)
    {
        if (Libc.Fstatx(file.Value, Libc.STATX_BASIC_STATS | Libc.STATX_INO | Libc.STATX_BTIME, out statx status) < 0)
            return null;
        (string name, bool unique) = isBlockDevice ? OfBlockDevice(in status) : OfFile(file, in status);
        return new ImageIdentity(name, unique, lengthBytes);
    }

    /// <summary>Whether this is the image that <paramref name="before"/> was. An image may have grown since.</summary>
    public bool IsStill(ImageIdentity before) =>
        Name == before.Name && (LengthBytes == before.LengthBytes || (IsUnique && LengthBytes > before.LengthBytes));

    /// <summary>One line that <see cref="TryParse"/> reads.</summary>
    public string ToLine() =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"{Form} {(IsUnique ? "unique" : "likely")} {LengthBytes} {Name}\n"
        );

    /// <returns>Null for a line of another form, which cannot be compared.</returns>
    public static ImageIdentity? TryParse(string line) =>
        line.TrimEnd('\n').Split(' ', 4) is [Form, var unique, var length, var name]
        && long.TryParse(length, NumberStyles.None, CultureInfo.InvariantCulture, out long bytes)
            ? new ImageIdentity(name, unique == "unique", bytes)
            : null;

    public override string ToString() => $"{Name}, {LengthBytes} bytes";

    /// <param name="number">MAJOR:MINOR</param>
    /// <param name="folder">The device's folder in sysfs; a partition's is in that of its disk.</param>
    /// <param name="tryRead">Returns the text of a file, null if there is none.</param>
    internal static (string Name, bool IsUnique) OfBlockDevice(
        string number,
        string folder,
        Func<string, string?> tryRead
    )
    {
        string part = "",
            disk = folder;
        if (tryRead($"{folder}/partition") is { } partition)
        {
            part = $"-part{partition.Trim()}@{tryRead($"{folder}/start")?.Trim()}";
            disk = Path.GetDirectoryName(folder)!;
        }
        foreach (string file in s_blockNames)
            if (tryRead($"{disk}/{file}") is { } text && Clean(text) is { Length: > 0 } name)
                return ($"block:{name}{part}", true);
        // Nothing but the number, which may be another device's after a while.
        return ($"block:{number}{part}", false);
    }

    private static (string Name, bool IsUnique) OfBlockDevice(in statx status)
    {
        string number = Sysfs.NumberOf(in status);
        return OfBlockDevice(number, Sysfs.TargetOf(Sysfs.LinkOf(number)), Sysfs.TryRead);
    }

    private static (string Name, bool IsUnique) OfFile(FileDescriptor file, in statx status)
    {
        (string fileSystem, bool unique) = FileSystemOf(file);
        string born =
            (status.stx_mask & Libc.STATX_BTIME) != 0
                ? string.Create(
                    CultureInfo.InvariantCulture,
                    $"-born{status.stx_btime.tv_sec}.{status.stx_btime.tv_nsec:d9}"
                )
                : "";
        return (
            string.Create(
                CultureInfo.InvariantCulture,
                $"file:{fileSystem}-inode{status.stx_ino}-generation{GenerationOf(file)}{born}"
            ),
            unique
        );
    }

    private static unsafe int GenerationOf(FileDescriptor file)
    {
        long generation = 0;
        return Libc.Ioctl(file.Value, Libc.FS_IOC_GETVERSION, &generation) < 0 ? 0 : (int)generation;
    }

    private static unsafe (string Name, bool IsUnique) FileSystemOf(FileDescriptor file)
    {
        byte* answer = stackalloc byte[XfsGeometryBytes];
        if (Libc.Ioctl(file.Value, GetFileSystemUuid, answer) >= 0 && answer[0] is > 0 and <= UuidBytes)
        {
            ReadOnlySpan<byte> uuid = new(answer + 1, answer[0]);
            // Some file systems have none, and say 0.
            if (uuid.ContainsAnyExcept((byte)0))
                return (Convert.ToHexStringLower(uuid), true);
        }
        if (Libc.Fstatfs(file.Value, out statfs status) < 0)
            return ("unknown", false);
        // The f_fsid of xfs is the number of its device.
        if (status.f_type == Libc.XFS_SUPER_MAGIC && Libc.Ioctl(file.Value, GetXfsGeometry, answer) >= 0)
            return (Convert.ToHexStringLower(new ReadOnlySpan<byte>(answer + XfsUuidAt, UuidBytes)), true);
        bool unique = status.f_fsid != 0 && status.f_type != Libc.XFS_SUPER_MAGIC;
        return (
            string.Create(CultureInfo.InvariantCulture, $"{status.f_type:x}.{(unique ? status.f_fsid : 0):x}"),
            unique
        );
    }

    /// <summary>A device chose the text: it becomes one word of a line.</summary>
    private static string Clean(string text)
    {
        StringBuilder clean = new();
        foreach (char c in text.Trim().Take(200))
            clean.Append(char.IsControl(c) || char.IsWhiteSpace(c) ? '_' : c);
        return clean.ToString();
    }
}
