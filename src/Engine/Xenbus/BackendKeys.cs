using System.Globalization;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Xenbus;

/// <summary>The keys that a backend writes to its area, as pairs; a key whose value is null must be absent.</summary>
internal static class BackendKeys
{
    /// <summary>What the frontend must know before it allocates its rings: written before InitWait.</summary>
    /// <param name="hasScript">A hotplug script runs for this device, and writes hotplug-status itself.</param>
    public static KeyValuePair<string, string?>[] BeforeInitWait(DeviceOptions options, bool hasScript)
    {
        int segments = options.MaxIndirectSegments;
        KeyValuePair<string, string?>[] keys =
        [
            new(XenstoreKeys.MaxRingPageOrder, Text(options.MaxRingPageOrder)),
            new(XenstoreKeys.MaxRingPages, Text(1 << options.MaxRingPageOrder)),
            new(XenstoreKeys.MaxQueues, Text(options.MaxQueues)),
            new(XenstoreKeys.MaxIndirectSegments, segments > 0 ? Text(segments) : null),
            // A guest that is offered this copies its data once more, which pays only if the data path does not copy.
            new(XenstoreKeys.FeaturePersistent, options.GrantMode == GrantMode.Persistent ? "1" : null),
        ];
        return hasScript ? keys : [.. keys, new(XenstoreKeys.HotplugStatus, "connected")];
    }

    /// <summary>What describes the disk: written before the frontend sees Connected.</summary>
    public static KeyValuePair<string, string?>[] BeforeConnected(
        Disk disk,
        DiskKeys keys,
        DeviceOptions options,
        int queues
    )
    {
        bool discard = keys.Discard && options.Discard && disk.DiscardSupported && !disk.ReadOnly;
        return
        [
            new(XenstoreKeys.FeatureFlushCache, "1"),
            // A barrier orders the requests of one queue, not of several.
            new(XenstoreKeys.FeatureBarrier, queues == 1 ? "1" : null),
            new(XenstoreKeys.FeatureDiscard, discard ? "1" : "0"),
            new(XenstoreKeys.DiscardGranularity, discard ? Text(disk.DiscardGranularityBytes) : null),
            new(XenstoreKeys.DiscardAlignment, discard ? Text(disk.DiscardAlignmentBytes) : null),
            new(XenstoreKeys.DiscardSecure, discard ? "0" : null),
            new(XenstoreKeys.Sectors, Text(disk.CapacitySectors)),
            new(XenstoreKeys.SectorSize, Text(options.NativeSectors ? disk.LogicalSectorBytes : Disk.SectorBytes)),
            new(XenstoreKeys.PhysicalSectorSize, Text(disk.PhysicalSectorBytes)),
            new(XenstoreKeys.Info, Text(keys.Info(disk.ReadOnly))),
        ];
    }

    public static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
