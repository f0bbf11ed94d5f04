using System.Globalization;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Xenbus;

/// <summary>What a backend writes into its area, as pairs; a value of null is a key that must not be there.</summary>
internal static class BackendKeys
{
    /// <summary>What the frontend must know before it makes its rings: to be there before InitWait is.</summary>
    /// <param name="hasScript">A hotplug script runs for this device; it is the one to say that it is done.</param>
    public static KeyValuePair<string, string?>[] BeforeInitWait(DeviceOptions options, bool hasScript) =>
        [
            new("max-ring-page-order", Text(options.MaxRingPageOrder)),
            // The deprecated name of the same (blkif.h, note 11).
            new("max-ring-pages", Text(1 << options.MaxRingPageOrder)),
            new("multi-queue-max-queues", Text(options.MaxQueues)),
            new(
                "feature-max-indirect-segments",
                options.MaxIndirectSegments > 0 ? Text(options.MaxIndirectSegments) : null
            ),
            // A guest that is offered this copies its data once more: only for a data path that does not copy.
            new("feature-persistent", options.GrantMode == GrantMode.Persistent ? "1" : null),
            .. hasScript ? (ReadOnlySpan<KeyValuePair<string, string?>>)[] : [new("hotplug-status", "connected")],
        ];

    /// <summary>What describes the disk: to be there when the frontend sees Connected.</summary>
    public static KeyValuePair<string, string?>[] BeforeConnected(
        Disk disk,
        DiskKeys keys,
        DeviceOptions options,
        bool readOnly,
        int queues
    )
    {
        bool discard = keys.Discard && options.Discard && disk.DiscardSupported && !readOnly;
        return
        [
            new("feature-flush-cache", "1"),
            // A barrier orders one queue; over several it could not be kept.
            new("feature-barrier", queues == 1 ? "1" : null),
            new("feature-discard", discard ? "1" : "0"),
            new("discard-granularity", discard ? Text(disk.DiscardGranularityBytes) : null),
            new("discard-alignment", discard ? Text(disk.DiscardAlignmentBytes) : null),
            new("discard-secure", discard ? "0" : null),
            new("sectors", Text(disk.CapacitySectors)),
            new("sector-size", Text(options.NativeSectors ? disk.LogicalSectorBytes : Disk.SectorBytes)),
            new("physical-sector-size", Text(disk.PhysicalSectorBytes)),
            new("info", Text(keys.Info(readOnly))),
        ];
    }

    public static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
