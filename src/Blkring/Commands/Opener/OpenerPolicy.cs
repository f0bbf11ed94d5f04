using System.Globalization;
using Blkring.Engine.Disks;
using Blkring.Interop;

namespace Blkring.Commands.Opener;

/// <summary>
/// What the opener opens for a daemon that a guest may have taken over: regular files and block devices, in the image
/// folders.
/// </summary>
/// <param name="folders">Absolute paths. Everything outside of them is refused.</param>
/// <param name="mayBeInUse">Whether block devices that the host itself uses may be opened for writing.</param>
internal sealed class OpenerPolicy(IReadOnlyList<string> folders, bool mayBeInUse = false)
{
    // Nothing that creates, truncates or appends, and nothing that waits for a writer or a lease.
    private static readonly int s_allowedFlags =
        Libc.O_RDWR | Libc.O_DIRECT | Libc.O_DSYNC | Libc.O_EXCL | Libc.O_PATH | Libc.O_CLOEXEC;

    /// <summary>The folders with all symbolic links followed, as descriptors name them.</summary>
    private readonly string[] _resolved = [.. folders.Select(Resolve)];

    public IReadOnlyList<string> Folders => folders;

    /// <summary>Opens the path if it may be opened.</summary>
    /// <param name="refusal">Why not, in one line; null if the kernel refused, or if it was opened.</param>
    /// <returns>0, or a positive errno.</returns>
    public int TryOpen(string path, int flags, out FileDescriptor? file, out string? refusal)
    {
        (file, refusal) = (null, null);
        if (path is not ['/', ..] || path.Contains('\0', StringComparison.Ordinal))
            return Refuse("a path must be absolute", out refusal);
        if ((flags & ~s_allowedFlags) != 0)
            return Refuse(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"the flags 0x{flags & ~s_allowedFlags:x} are not for images"
                ),
                out refusal
            );
        // Links are followed before anything is opened for use: opening a device or a pipe may have effects of its own.
        int errno = TryOpenOnce(path, Libc.O_PATH, out FileDescriptor? found);
        if (errno != 0)
            return errno;
        refusal = FindRefusal(path, found!, writes: (flags & Libc.O_RDWR) != 0);
        if (refusal is null && (flags & Libc.O_PATH) != 0)
        {
            file = found;
            return 0;
        }
        using (found)
            // By the descriptor: the path may lead elsewhere by now.
            return refusal is null ? TryOpenOnce($"/proc/self/fd/{found!.Value}", flags, out file) : Errno.EACCES;
    }

    private string? FindRefusal(string path, FileDescriptor found, bool writes)
    {
        string target = TargetOf(found);
        if (Libc.Fstatx(found.Value, Libc.STATX_BASIC_STATS, out statx status) < 0)
            return "it cannot be looked at";
        switch (status.stx_mode & Libc.S_IFMT)
        {
            // A link in an allowed folder may name a device, as those of a volume manager do, and nothing else.
            case Libc.S_IFBLK when IsIn(path, folders) || IsIn(target, _resolved):
                string users = writes && !mayBeInUse ? BlockDeviceUsers.Find(found) : "";
                return users.Length == 0 ? null : $"this host uses {target}: {users}";
            case Libc.S_IFREG when IsIn(target, _resolved):
                return null;
            case Libc.S_IFBLK or Libc.S_IFREG:
                return $"{target} is outside of the folders that the opener may open, {string.Join(" and ", folders)}";
            default:
                return $"{target} is neither a regular file nor a block device";
        }
    }

    private static bool IsIn(string path, IReadOnlyList<string> folders) =>
        !path.Contains("/../", StringComparison.Ordinal)
        && folders.Any(folder => path.StartsWith(folder.TrimEnd('/') + "/", StringComparison.Ordinal));

    private static string TargetOf(FileDescriptor file) => new FileInfo($"/proc/self/fd/{file.Value}").LinkTarget ?? "";

    private static string Resolve(string folder)
    {
        int errno = TryOpenOnce(folder, Libc.O_PATH, out FileDescriptor? found);
        if (errno != 0)
            return folder;
        using (found)
            return TargetOf(found!);
    }

    private static int TryOpenOnce(string path, int flags, out FileDescriptor? file)
    {
        int fd = Libc.Open(path, flags);
        file = fd < 0 ? null : new FileDescriptor(fd);
        return fd < 0 ? -fd : 0;
    }

    private static int Refuse(string why, out string? refusal)
    {
        refusal = why;
        return Errno.EACCES;
    }
}
