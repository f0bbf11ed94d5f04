using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// Who uses a block device of this host exclusively, as far as the kernel tells: file systems that are mounted from it
/// or from a part of it, devices that are made of it, swapping.
/// </summary>
public static class BlockDeviceUsers
{
    private const int MaxNames = 3;

    /// <returns>For example <c>mounted on /srv, part of vg0-data (dm-3)</c>; empty if nothing is known.</returns>
    public static string Find(FileDescriptor device) =>
        Libc.Fstatx(device.Value, Libc.STATX_TYPE, out statx status) < 0 ? "" : Find(Sysfs.NumberOf(in status), "/");

    public static string Find(string path) =>
        Libc.Statx(path, 0, Libc.STATX_TYPE, out statx status) < 0 ? "" : Find(Sysfs.NumberOf(in status), "/");

    /// <param name="number">MAJOR:MINOR</param>
    /// <param name="root">The folder that has proc and sys.</param>
    internal static string Find(string number, string root)
    {
        List<string> users = [];
        foreach ((string related, string name) in Related(number, root))
        {
            string part = related == number ? "" : $"{name} is ";
            users.AddRange(Mounts(related, name, root).Select(place => $"{part}mounted on {place}"));
            if (Swaps(name, root))
                users.Add($"{part}used for swapping");
            users.AddRange(Holders(related, root).Select(holder => $"{part}part of {holder}"));
        }
        string more = users.Count > MaxNames ? $" and {users.Count - MaxNames} more" : "";
        return string.Join(", ", users.Take(MaxNames)) + more;
    }

    /// <summary>
    /// The device, its partitions, and the disk that it is a partition of, with their names in /dev: a disk is in use
    /// when a part of it is, and a part when the whole disk is.
    /// </summary>
    private static IEnumerable<(string Number, string Name)> Related(string number, string root)
    {
        string folder = Sysfs.LinkOf(number, root);
        yield return (number, NameOf(folder));
        foreach (string part in Folders(folder).Where(IsPartition))
            if (Sysfs.TryRead($"{part}/dev") is { } other)
                yield return (other, Path.GetFileName(part));
        if (
            IsPartition(folder)
            && Path.GetDirectoryName(Sysfs.TargetOf(folder)) is { } disk
            && Sysfs.TryRead($"{disk}/dev") is { } whole
        )
            yield return (whole, Path.GetFileName(disk));
    }

    private static bool IsPartition(string folder) => File.Exists(Path.Combine(folder, "partition"));

    private static string NameOf(string folder) => Path.GetFileName(Sysfs.TargetOf(folder));

    /// <summary>The places, in the name space of process 1: that of a service may lack some.</summary>
    private static IEnumerable<string> Mounts(string number, string name, string root)
    {
        string? text =
            Sysfs.TryRead(Path.Combine(root, "proc/1/mountinfo"))
            ?? Sysfs.TryRead(Path.Combine(root, "proc/self/mountinfo"));
        foreach (string line in (text ?? "").Split('\n'))
        {
            // 36 35 98:0 /root /place options [optional fields] - type source options
            if (line.Split(" - ", 2) is not [var own, var common])
                continue;
            string[] fields = own.Split(' ');
            if (fields.Length < 5)
                continue;
            // btrfs has a number of its own, and names its device.
            bool names = common.Split(' ') is [_, var source, ..] && source == $"/dev/{name}";
            if (fields[2] == number || names)
                yield return Unescape(fields[4]);
        }
    }

    private static bool Swaps(string name, string root) =>
        (Sysfs.TryRead(Path.Combine(root, "proc/swaps")) ?? "")
            .Split('\n')
            .Any(line => line.StartsWith($"/dev/{name} ", StringComparison.Ordinal));

    private static IEnumerable<string> Holders(string number, string root)
    {
        foreach (string holder in Folders(Path.Combine(Sysfs.LinkOf(number, root), "holders")))
        {
            string name = Path.GetFileName(holder);
            yield return Sysfs.TryRead($"{holder}/dm/name") is { } known ? $"{known} ({name})" : name;
        }
    }

    private static string[] Folders(string folder)
    {
        try
        {
            return [.. Directory.EnumerateDirectories(folder).Order(StringComparer.Ordinal)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    /// <summary>Spaces are \040 there. What else is odd stays as the kernel writes it.</summary>
    private static string Unescape(string place) => place.Replace("\\040", " ", StringComparison.Ordinal);
}
