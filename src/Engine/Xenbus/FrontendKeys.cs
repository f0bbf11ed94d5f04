using System.Globalization;
using System.Numerics;
using Blkring.Engine.Errors;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Vbds;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// What a frontend writes before it goes to Initialised (blkif.h, "Frontend XenBus Nodes"), read and bounded. A guest
/// wrote all of it: every number has its limits here, and whatever does not keep to them ends the attempt with one
/// line.
/// </summary>
internal sealed class FrontendKeys(IXenstore store, string area, DeviceOptions options)
{
    /// <exception cref="DeviceException">A key is missing or out of bounds.</exception>
    public VbdConnection Read(DomainId frontend, bool resume)
    {
        int queues = ReadQueueCount();
        int pages = ReadRingPages(out bool indexed);
        return new VbdConnection
        {
            Frontend = frontend,
            Protocol = store.Read($"{area}/protocol"),
            // One queue has its keys in the area itself, also when the frontend says that it is one.
            Rings =
                queues == 1
                    ? [ReadRing(area, pages, indexed)]
                    :
                    [
                        .. Enumerable
                            .Range(0, queues)
                            .Select(queue => ReadRing(Numbered($"{area}/queue-", queue), pages, indexed)),
                    ],
            PersistentGrants = store.Read($"{area}/feature-persistent") == "1",
            Resume = resume,
        };
    }

    private int ReadQueueCount() => (int?)ReadNumber(area, "multi-queue-num-queues", 1, (uint)options.MaxQueues) ?? 1;

    /// <param name="indexed">The frontend named a size: its references are then ring-ref0 and so on.</param>
    private int ReadRingPages(out bool indexed)
    {
        indexed = true;
        if (ReadNumber(area, "ring-page-order", 0, (uint)options.MaxRingPageOrder) is { } order)
            return 1 << (int)order;
        // The deprecated name of the same (blkif.h, note 12).
        uint? pages = ReadNumber(area, "num-ring-pages", 1, 1u << options.MaxRingPageOrder);
        if (pages is { } count && !BitOperations.IsPow2(count))
            throw new DeviceException(
                ErrorCode.KeyOutOfRange,
                $"the frontend's num-ring-pages is {count}, which is not a power of two"
            );
        indexed = pages is not null;
        return (int)(pages ?? 1);
    }

    private VbdRing ReadRing(string folder, int pages, bool indexed) =>
        new()
        {
            References =
                pages == 1
                    ? [ReadOnlyReference(folder, indexed)]
                    :
                    [
                        .. Enumerable
                            .Range(0, pages)
                            .Select(page => RequireReference(folder, Numbered("ring-ref", page))),
                    ],
            EventChannel = new EventChannelPort(
                Require(folder, "event-channel", ReadNumber(folder, "event-channel", 1, uint.MaxValue))
            ),
        };

    /// <summary>
    /// A ring of one page: frontends that name its size as order 0 differ in what they call its reference.
    /// </summary>
    private GrantReference ReadOnlyReference(string folder, bool indexed)
    {
        (string first, string second) = indexed ? ("ring-ref0", "ring-ref") : ("ring-ref", "ring-ref0");
        uint? reference = ReadNumber(folder, first, 0, uint.MaxValue) ?? ReadNumber(folder, second, 0, uint.MaxValue);
        return new GrantReference(Require(folder, first, reference));
    }

    private GrantReference RequireReference(string folder, string key) =>
        new(Require(folder, key, ReadNumber(folder, key, 0, uint.MaxValue)));

    private uint Require(string folder, string key, uint? value) =>
        value ?? throw new DeviceException(ErrorCode.KeyMissing, $"the frontend's {NameOf(folder, key)} is missing");

    /// <returns>Null when the key is absent.</returns>
    private uint? ReadNumber(string folder, string key, uint min, uint max)
    {
        if (store.Read($"{folder}/{key}") is not { } text)
            return null;
        if (!uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out uint value))
            throw new DeviceException(
                ErrorCode.KeyNotANumber,
                $"the frontend's {NameOf(folder, key)} is {LogText.Quote(text)}, not a number"
            );
        if (value < min || value > max)
            throw new DeviceException(
                ErrorCode.KeyOutOfRange,
                $"the frontend's {NameOf(folder, key)} is {value}: {min} to {max} are served"
            );
        return value;
    }

    private string NameOf(string folder, string key) =>
        folder.Length == area.Length ? key : $"{folder.AsSpan(area.Length + 1)}/{key}";

    private static string Numbered(string name, int number) => name + number.ToString(CultureInfo.InvariantCulture);
}
