using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Vbds;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// The folder of journals (<see cref="RingJournal"/>), which keep the requests in flight for a takeover after a crash.
/// A file is named after its ring: <c>backend-vbd3-7-51712-0</c> is ring 0 of device 7/51712 in the directory vbd3.
/// Beside them, <c>backend-vbd3-7-51712-image</c> says which image these requests are for, and a file per image, named
/// after the hash of its identity, whether it has lost writes (<see cref="LostWrites"/>).
/// </summary>
/// <param name="folder">Null: no journals.</param>
/// <param name="root">backend/vbd3</param>
internal sealed class Journals(IControlFiles files, string? folder, string root)
{
    private const string ImageFile = "image";

    /// <exception cref="IOException">The folder cannot be created.</exception>
    public void CreateFolder()
    {
        if (folder is not null)
            files.CreatePrivateFolder(folder);
    }

    /// <summary>The daemon before ended by a fault of its own, not by a kill.</summary>
    public bool AfterCrash { get; private set; }

    /// <summary>Reads and removes the note of how the daemon before ended: <see cref="CrashNote"/>.</summary>
    public void TakeCrashNote()
    {
        if (folder is null)
            return;
        string path = CrashNote.PathIn(folder);
        AfterCrash = files.TryRead(path) is not null;
        if (AfterCrash)
            files.Delete(path);
    }

    /// <summary>The path to which ring numbers are appended: <see cref="VbdOptions.JournalPath"/>.</summary>
    public string? PathOf(DeviceId id) => folder is null ? null : Path.Combine(folder, NameOf($"{root}/{id}"));

    /// <summary>Keeps which image the device's rings are served from.</summary>
    /// <exception cref="DeviceException">It cannot be written.</exception>
    public void NoteImage(DeviceId id, ImageIdentity? image)
    {
        if (folder is null || image is null)
            return;
        string path = PathOf(id) + "-" + ImageFile,
            line = image.ToLine();
        try
        {
            if (files.TryRead(path) != line)
                files.Replace(path, line);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unusable(path, $"cannot be written: {e.Message}");
        }
    }

    /// <summary>
    /// Keeps in the folder whether the image has lost writes: for the next daemon, and for a guest that comes back.
    /// </summary>
    /// <exception cref="DeviceException">The file cannot be made.</exception>
    public void KeepLostWrites(Disk disk, ImageIdentity? image)
    {
        if (folder is null || image is null || disk.ReadOnly)
            return;
        byte[] hash = SHA256.HashData(Encoding.UTF8.GetBytes(image.Name));
        string path = Path.Combine(folder, $"lost-writes-{Convert.ToHexStringLower(hash.AsSpan(0, 16))}");
        int errno = disk.Lost.KeepIn(path);
        if (errno != 0)
            throw Unusable(path, $"cannot be made: {Interop.Errno.Describe(errno)}", errno);
    }

    /// <returns>The image that the device's rings were served from; null if that is not known.</returns>
    /// <exception cref="DeviceException">It cannot be read.</exception>
    public ImageIdentity? FindImage(DeviceId id)
    {
        if (folder is null)
            return null;
        string path = PathOf(id) + "-" + ImageFile;
        try
        {
            return files.TryRead(path) is { } line ? ImageIdentity.TryParse(line) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unusable(path, $"cannot be read: {e.Message}");
        }
    }

    /// <summary>Deletes the device's journals: its rings are gone for good.</summary>
    public void Forget(DeviceId id)
    {
        if (folder is null)
            return;
        string prefix = NameOf($"{root}/{id}") + "-";
        try
        {
            foreach (string file in files.Find(folder, prefix))
                if (IsNumber(RingOf(file, prefix)) || RingOf(file, prefix).SequenceEqual(ImageFile))
                    files.Delete(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A file that remains can belong to no future ring, and is deleted at the next start.
        }
    }

    /// <summary>
    /// Deletes the journals that no takeover can need: those of devices that are not Connected, and those that a daemon
    /// was killed over before they were in place. Runs before any device is served.
    /// </summary>
    /// <param name="frontend">The domain whose journals are checked; null for all domains.</param>
    public void RemoveStale(DomainId? frontend, IXenstore store)
    {
        if (folder is null)
            return;
        string prefix = NameOf(root) + "-",
            connected = XenbusStates.Format(XenbusState.Connected);
        foreach (string file in files.Find(folder, prefix))
        {
            // The name of another directory may begin with this one's; its file names then have more parts.
            if (Path.GetFileName(file)[prefix.Length..].Split('-') is not [var domain, var number, _])
                continue;
            if (!DeviceId.TryParse(domain, number, out DeviceId id) || (frontend is { } only && id.Frontend != only))
                continue;
            if (IsReplacement(file) || store.Read($"{root}/{id}/{XenstoreKeys.State}") != connected)
                files.Delete(file);
        }
    }

    private static DeviceException Unusable(string path, string why, int errno = 0) =>
        new(new EngineError(ErrorCode.JournalUnusable, $"{path} {why}") { Path = path, Errno = errno });

    private static string NameOf(string path) => path.Replace('/', '-');

    /// <summary>What follows the device in the name of a journal, or of the file that was to replace it.</summary>
    private static ReadOnlySpan<char> RingOf(string file, string prefix)
    {
        ReadOnlySpan<char> ring = Path.GetFileName(file.AsSpan())[prefix.Length..];
        return IsReplacement(file) ? ring[..^RingJournal.ReplacementSuffix.Length] : ring;
    }

    private static bool IsReplacement(string file) =>
        file.EndsWith(RingJournal.ReplacementSuffix, StringComparison.Ordinal);

    private static bool IsNumber(ReadOnlySpan<char> text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out _);
}
