using System.Globalization;
using System.Numerics;
using Blkring.Engine.Errors;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Vbds;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// Reads the keys that a frontend writes before it goes to Initialised (blkif.h, "Frontend XenBus Nodes"). A guest
/// wrote them: every number is checked against its limits, and a value outside of them ends the attempt with an error.
/// </summary>
internal sealed class FrontendKeys(IXenstore store, string area, DeviceOptions options)
{
    /// <exception cref="DeviceException">A key is missing or out of bounds.</exception>
    public VbdConnection Read(DomainId frontend, bool takeover)
    {
        int queues = ReadQueueCount();
        int pages = ReadRingPages(out bool indexed);
        return new VbdConnection
        {
            Frontend = frontend,
            Protocol = store.Read($"{area}/{XenstoreKeys.Protocol}"),
            // The keys of a single queue are in the area itself, even if the frontend wrote the number of queues.
            Rings =
                queues == 1
                    ? [ReadRing(area, pages, indexed)]
                    :
                    [
                        .. Enumerable
                            .Range(0, queues)
                            .Select(queue =>
                                ReadRing($"{area}/{Numbered(XenstoreKeys.QueuePrefix, queue)}", pages, indexed)
                            ),
                    ],
            PersistentGrants = store.Read($"{area}/{XenstoreKeys.FeaturePersistent}") == "1",
            Takeover = takeover,
        };
    }

    private int ReadQueueCount() => (int?)ReadNumber(area, XenstoreKeys.NumQueues, 1, (uint)options.MaxQueues) ?? 1;

    /// <param name="indexed">The frontend wrote a ring size: the keys are then ring-ref0 and so on.</param>
    private int ReadRingPages(out bool indexed)
    {
        indexed = true;
        if (ReadNumber(area, XenstoreKeys.RingPageOrder, 0, (uint)options.MaxRingPageOrder) is { } order)
            return 1 << (int)order;
        uint? pages = ReadNumber(area, XenstoreKeys.NumRingPages, 1, 1u << options.MaxRingPageOrder);
        if (pages is { } count && !BitOperations.IsPow2(count))
            throw Wrong(
                ErrorCode.KeyOutOfRange,
                XenstoreKeys.NumRingPages,
                $"is {count}, which is not a power of two",
                BackendKeys.Text(count)
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
                            .Select(page => RequireReference(folder, Numbered(XenstoreKeys.RingRef, page))),
                    ],
            EventChannel = new EventChannelPort(
                Require(
                    folder,
                    XenstoreKeys.EventChannel,
                    ReadNumber(folder, XenstoreKeys.EventChannel, 1, uint.MaxValue)
                )
            ),
        };

    /// <summary>
    /// The reference of a ring of one page: frontends that write its size as order 0 use different key names.
    /// </summary>
    private GrantReference ReadOnlyReference(string folder, bool indexed)
    {
        (string first, string second) = (XenstoreKeys.RingRef, Numbered(XenstoreKeys.RingRef, 0));
        if (indexed)
            (first, second) = (second, first);
        uint? reference = ReadNumber(folder, first, 0, uint.MaxValue) ?? ReadNumber(folder, second, 0, uint.MaxValue);
        return new GrantReference(Require(folder, first, reference));
    }

    private GrantReference RequireReference(string folder, string key) =>
        new(Require(folder, key, ReadNumber(folder, key, 0, uint.MaxValue)));

    private uint Require(string folder, string key, uint? value) =>
        value ?? throw Wrong(ErrorCode.KeyMissing, NameOf(folder, key), "is missing");

    /// <returns>Null when the key is absent.</returns>
    private uint? ReadNumber(string folder, string key, uint min, uint max)
    {
        if (store.Read($"{folder}/{key}") is not { } text)
            return null;
        string name = NameOf(folder, key);
        if (!uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out uint value))
            throw Wrong(ErrorCode.KeyNotANumber, name, $"is {LogText.Quote(text)}, not a number", text);
        if (value < min || value > max)
            throw Wrong(ErrorCode.KeyOutOfRange, name, $"is {value}: {min} to {max} are served", text);
        return value;
    }

    private static DeviceException Wrong(ErrorCode code, string name, string problem, string? value = null) =>
        new(new EngineError(code, $"the frontend's {name} {problem}") { Key = name, Value = value });

    private string NameOf(string folder, string key) =>
        folder.Length == area.Length ? key : $"{folder.AsSpan(area.Length + 1)}/{key}";

    private static string Numbered(string name, int number) => name + BackendKeys.Text(number);
}
