using Blkring.Engine.Hypervisor;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// The names of xenstore keys. Xen has them only in comments and documents (xen/io/blkif.h, docs/misc/xenstore-paths),
/// so no spec has them: they are written here, once.
/// </summary>
public static class XenstoreKeys
{
    // Both areas.
    public const string State = "state";
    public const string FeaturePersistent = "feature-persistent";

    // The backend area: what the toolstack and its script write.
    public const string Frontend = "frontend";
    public const string FrontendId = "frontend-id";
    public const string Online = "online";
    public const string Params = "params";
    public const string PhysicalDevice = "physical-device";
    public const string PhysicalDevicePath = "physical-device-path";
    public const string Type = "type";
    public const string Script = "script";
    public const string Mode = "mode";
    public const string DeviceType = "device-type";
    public const string Removable = "removable";
    public const string DiscardEnable = "discard-enable";
    public const string DirectIoSafe = "direct-io-safe";

    // The backend area: what the backend writes before InitWait.
    public const string MaxRingPageOrder = "max-ring-page-order";

    /// <summary>The deprecated form of <see cref="MaxRingPageOrder"/>: pages (blkif.h, note 11).</summary>
    public const string MaxRingPages = "max-ring-pages";
    public const string MaxQueues = "multi-queue-max-queues";
    public const string MaxIndirectSegments = "feature-max-indirect-segments";
    public const string HotplugStatus = "hotplug-status";
    public const string HotplugError = "hotplug-error";

    // The backend area: what the backend writes before Connected.
    public const string FeatureFlushCache = "feature-flush-cache";
    public const string FeatureBarrier = "feature-barrier";
    public const string FeatureDiscard = "feature-discard";
    public const string DiscardGranularity = "discard-granularity";
    public const string DiscardAlignment = "discard-alignment";
    public const string DiscardSecure = "discard-secure";
    public const string Sectors = "sectors";
    public const string SectorSize = "sector-size";
    public const string PhysicalSectorSize = "physical-sector-size";
    public const string Info = "info";

    // The frontend area.
    public const string Protocol = "protocol";
    public const string RingPageOrder = "ring-page-order";

    /// <summary>The deprecated form of <see cref="RingPageOrder"/>: pages (blkif.h, note 12).</summary>
    public const string NumRingPages = "num-ring-pages";
    public const string NumQueues = "multi-queue-num-queues";

    /// <summary>Followed by the number of a page if the frontend wrote a ring size.</summary>
    public const string RingRef = "ring-ref";
    public const string EventChannel = "event-channel";

    /// <summary>The folder of one of several queues, followed by its number.</summary>
    public const string QueuePrefix = "queue-";

    // Outside the two areas.

    /// <summary>The folder of a domain's backends, below its home.</summary>
    public const string Backend = "backend";

    /// <summary>The folder and the key of a domain's device errors, below its home.</summary>
    public const string Error = "error";

    /// <summary>A domain's own number, below its home.</summary>
    public const string DomId = "domid";

    /// <summary>The folder of a domain's keys, to which paths without a leading slash are relative.</summary>
    public static string HomeOf(DomainId domain) => $"/local/domain/{domain}";
}
