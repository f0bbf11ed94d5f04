using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Settings;

namespace Blkring.Engine.Xenbus;

/// <summary>How one device is served. Limits and defaults are those of <see cref="DeviceSettings"/>.</summary>
public sealed record DeviceOptions
{
    /// <summary>The options that follow from the settings.</summary>
    public static DeviceOptions Of(SettingValues values) =>
        new()
        {
            Cache = values.Get(DeviceSettings.Cache),
            GrantMode = values.Get(DeviceSettings.Grants),
            MaxQueues = values.Get(DeviceSettings.MaxQueues),
            MaxRingPageOrder = values.Get(DeviceSettings.MaxRingPageOrder),
            MaxIndirectSegments = values.Get(DeviceSettings.MaxIndirectSegments),
            NativeSectors = values.Get(DeviceSettings.NativeSectors),
            Lock = values.Get(DeviceSettings.Lock),
            LostDisk = values.Get(DeviceSettings.LostDisk),
            Limits = new ThrottleLimits
            {
                Iops = values.Get(DeviceSettings.Iops),
                IopsBurst = values.Get(DeviceSettings.IopsBurst),
                BytesPerSecond = values.Get(DeviceSettings.Bandwidth),
                BytesBurst = values.Get(DeviceSettings.BandwidthBurst),
            },
        };

    public CacheMode Cache { get; init; } = DeviceSettings.Cache.Default;

    /// <summary>Offered as max-ring-page-order.</summary>
    public int MaxRingPageOrder
    {
        get;
        init => field = DeviceSettings.MaxRingPageOrder.Clamp(value);
    } = DeviceSettings.MaxRingPageOrder.Default;

    /// <summary>Offered as multi-queue-max-queues.</summary>
    public int MaxQueues
    {
        get;
        init => field = DeviceSettings.MaxQueues.Clamp(value);
    } = DeviceSettings.MaxQueues.Default;

    /// <summary>Offered as feature-max-indirect-segments; 0 does not offer them.</summary>
    public int MaxIndirectSegments { get; init; } = DeviceSettings.MaxIndirectSegments.Default;

    /// <summary>
    /// Access to the guest's pages; feature-persistent is offered only with
    /// <see cref="Queues.GrantMode.Persistent"/>. Null is the choice of <see cref="GrantModes.Resolve"/> for the disk.
    /// </summary>
    public GrantMode? GrantMode { get; init; } = DeviceSettings.Grants.Default;

    /// <summary>The device's limits, until <see cref="XenbusBackend.Limit"/> changes them.</summary>
    public ThrottleLimits Limits { get; init; } = new();

    /// <summary>
    /// Offers the image's own sector as <c>sector-size</c> where that is larger than 512 bytes; not every frontend
    /// supports it. Ignored for a drive whose medium may be changed.
    /// </summary>
    public bool NativeSectors { get; init; } = DeviceSettings.NativeSectors.Default;

    /// <summary>
    /// False: other programs may write the image at the same time, as with <c>mode</c> w!
    /// (<see cref="FileDisk.Lock"/>).
    /// </summary>
    public bool Lock { get; init; } = DeviceSettings.Lock.Default;

    /// <summary>What a guest gets while its disk is full or gone.</summary>
    public LostDiskPolicy LostDisk { get; init; } = DeviceSettings.LostDisk.Default;

    /// <summary>See <see cref="ServingOptions.MaxInFlight"/>.</summary>
    public int? MaxInFlight { get; init; }

    /// <summary>False: writes are refused whatever the toolstack's <c>mode</c> says.</summary>
    public bool Writable { get; init; } = true;

    /// <summary>False: DISCARD is not offered whatever the toolstack's <c>discard-enable</c> says.</summary>
    public bool Discard { get; init; } = true;
}
