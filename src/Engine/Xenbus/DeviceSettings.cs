using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Settings;
using Blkring.Engine.Vbds;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// The settings that can be set per device, each with its limits and default, which <see cref="DeviceOptions"/> uses.
/// </summary>
public static class DeviceSettings
{
    public static readonly Setting<CacheMode> Cache = Setting.Choice(
        "Cache",
        "none",
        "The cache between the guest and its image. none: O_DIRECT where the image supports it. writeback: the page "
            + "cache. writethrough: the page cache for reads; each write reaches stable storage before its response.",
        ("none", CacheMode.None),
        ("writeback", CacheMode.Writeback),
        ("writethrough", CacheMode.Writethrough)
    );

    /// <summary>The value null leaves the choice to <see cref="GrantModes.Resolve"/>.</summary>
    public static readonly Setting<GrantMode?> Grants = Setting.Choice<GrantMode?>(
        "Grants",
        "auto",
        "Access to guest pages. copy: grant copy. map: mapped for each request. persistent: kept mapped if the guest "
            + "supports it, otherwise copied. auto: persistent, or copy for an image opened with O_DIRECT.",
        ("auto", null),
        ("copy", GrantMode.Copy),
        ("map", GrantMode.Map),
        ("persistent", GrantMode.Persistent)
    );

    public static readonly NumberSetting MaxQueues = Setting.Number(
        "MaxQueues",
        min: 1,
        max: 64,
        defaultValue: 4,
        "The number of queues offered to a guest."
    );

    public static readonly NumberSetting MaxRingPageOrder = Setting.Number(
        "MaxRingPageOrder",
        min: 0,
        max: 4,
        defaultValue: 4,
        "The ring size offered to a guest, as a power of two of pages: 4 offers 16 pages."
    );

    public static readonly NumberSetting MaxIndirectSegments = Setting.Number(
        "MaxIndirectSegments",
        min: 0,
        VbdQueueOptions.IndirectSegmentsLimit,
        VbdOptions.DefaultIndirectSegments,
        "The number of segments per indirect request. 0 does not offer indirect requests."
    );

    public static readonly Setting<bool> NativeSectors = Setting.Choice(
        "NativeSectors",
        "no",
        "yes: report the 4096-byte sectors of an image to the guest, which not every guest supports. no: report "
            + "512-byte sectors, and read and write whole sectors for smaller requests.",
        ("no", false),
        ("yes", true)
    );

    public static readonly Setting<bool> Lock = Setting.Choice(
        "Lock",
        "yes",
        "no: other programs may write the image at the same time, as with mode w! of the toolstack.",
        ("no", false),
        ("yes", true)
    );

    public static readonly Setting<LostDiskPolicy> LostDisk = Setting.Choice(
        "LostDisk",
        "wait",
        "While a guest's disk is full or gone (ENOSPC, EDQUOT, ENODEV, ENXIO, ESTALE). wait: its requests wait until "
            + "the disk is back. error: they fail.",
        ("wait", LostDiskPolicy.Wait),
        ("error", LostDiskPolicy.Error)
    );

    public static readonly Setting<long> Iops = Setting.Limit("Iops", "Requests per second. 0: no limit.");

    public static readonly Setting<long> IopsBurst = Setting.Limit(
        "IopsBurst",
        "Requests that may start at once after an idle period, before the limit per second applies."
    );

    public static readonly Setting<long> Bandwidth = Setting.SizeLimit(
        "Bandwidth",
        "Bytes per second, for example 200M. 0: no limit."
    );

    public static readonly Setting<long> BandwidthBurst = Setting.SizeLimit(
        "BandwidthBurst",
        "Bytes that may be transferred at once after an idle period, before the limit per second applies."
    );
}
