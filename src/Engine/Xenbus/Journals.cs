using System.Globalization;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Vbds;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// The files that keep what rings have under way (<see cref="RingJournal"/>): <c>backend-vbd3-7-51712-0</c> is that of
/// ring 0 of device 7/51712 in the directory vbd3.
/// </summary>
internal static class Journals
{
    /// <param name="area">backend/vbd3/7/51712</param>
    /// <returns>What ring numbers are added to: <see cref="VbdOptions.JournalPath"/>.</returns>
    public static string PathOf(string folder, string area) => Path.Combine(folder, NameOf(area));

    /// <summary>The device's rings are gone for good.</summary>
    public static void Forget(string folder, string area)
    {
        string beginning = NameOf(area) + "-";
        try
        {
            foreach (string file in Directory.EnumerateFiles(folder, beginning + "*"))
                if (
                    int.TryParse(
                        Path.GetFileName(file).AsSpan(beginning.Length),
                        NumberStyles.None,
                        CultureInfo.InvariantCulture,
                        out _
                    )
                )
                    File.Delete(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // What stays is of no ring that there will be, and goes at the next start.
        }
    }

    /// <summary>
    /// Before any device is served: only of what a daemon left Connected a ring can be taken over, all else went while
    /// there was none.
    /// </summary>
    /// <param name="root">backend/vbd3</param>
    /// <param name="frontend">Whose journals these are to be; null for everybody's.</param>
    public static void RemoveStale(string folder, string root, DomainId? frontend, IXenstore store)
    {
        string beginning = NameOf(root) + "-",
            connected = XenbusStates.Format(XenbusState.Connected);
        foreach (string file in Directory.EnumerateFiles(folder, beginning + "*"))
        {
            // Another directory's name may begin with this one's: its names have more parts.
            if (Path.GetFileName(file)[beginning.Length..].Split('-') is not [var domain, var number, _])
                continue;
            if (!DeviceId.TryParse(domain, number, out DeviceId id) || (frontend is { } only && id.Frontend != only))
                continue;
            if (store.Read($"{root}/{id}/state") != connected)
                File.Delete(file);
        }
    }

    private static string NameOf(string path) => path.Replace('/', '-');
}
