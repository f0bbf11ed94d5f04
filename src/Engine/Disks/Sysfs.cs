using System.Globalization;
using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// What sysfs and procfs say about block devices. A file that cannot be read counts as one that does not exist.
/// </summary>
internal static class Sysfs
{
    /// <returns>MAJOR:MINOR of a block device.</returns>
    public static string NumberOf(in statx status) =>
        string.Create(CultureInfo.InvariantCulture, $"{status.stx_rdev_major}:{status.stx_rdev_minor}");

    /// <param name="number">MAJOR:MINOR</param>
    /// <param name="root">The folder that has proc and sys.</param>
    /// <returns>The link to the device's folder.</returns>
    public static string LinkOf(string number, string root = "/") => Path.Combine(root, "sys/dev/block", number);

    /// <returns>The folder that a link leads to; the link itself if that is not known.</returns>
    public static string TargetOf(string link)
    {
        try
        {
            return Directory.ResolveLinkTarget(link, returnFinalTarget: true)?.FullName ?? link;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return link;
        }
    }

    /// <returns>The text without white space around it; null if it cannot be read.</returns>
    public static string? TryRead(string path)
    {
        try
        {
            return File.ReadAllText(path).Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
