using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Xenbus;

/// <summary>What a backend serves, and how patiently.</summary>
public sealed record BackendOptions
{
    /// <summary>The directory below <c>backend/</c> to watch: vbd3, qdisk, vbd or any other.</summary>
    public string Directory { get; init; } = "vbd3";

    /// <summary>Only this domain's devices; null for all.</summary>
    public DomainId? Frontend { get; init; }

    /// <summary>How each device is served; asked anew whenever its disk is opened.</summary>
    public Func<DeviceId, DeviceOptions> Device { get; init; } = _ => new DeviceOptions();

    /// <summary>
    /// How long a step waits for requests under way before it reports the device and tries again in the background.
    /// </summary>
    public TimeSpan DrainTimeout { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How long a frontend that connects waits for an image that is locked, before its device fails.</summary>
    public TimeSpan LockTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Between looks at whether an image or device grew.</summary>
    public TimeSpan GrowthInterval { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// Where the rings' journals are kept (<see cref="RingJournal"/>): a folder of a memory file system, of this user
    /// alone; made if it is not there. Null keeps none.
    /// </summary>
    public string? JournalFolder { get; init; }

    /// <summary>
    /// What to do about an error, in terms of options and configuration keys; null when there is nothing to add. It
    /// follows the error in the log, in xenstore and in <see cref="DeviceStatus.LastError"/>.
    /// </summary>
    public Func<EngineError, string?> Advice { get; init; } = _ => null;

    /// <summary>Opens what params or physical-device name; it may take as long as it likes.</summary>
    public Func<string, FileDiskOptions, Disk> OpenImage { get; init; } = FileDisk.Open;
}

/// <summary>How one device is served.</summary>
public sealed record DeviceOptions
{
    public CacheMode Cache { get; init; } = CacheMode.None;

    /// <summary>What no options can exceed: 16 pages a ring, and as many queues as any guest has use for.</summary>
    public const int RingPageOrderLimit = 4,
        QueuesLimit = 128;

    /// <summary>Offered as max-ring-page-order: 0 to 4, a ring of 1 to 16 pages.</summary>
    public int MaxRingPageOrder
    {
        get;
        init => field = Math.Clamp(value, 0, RingPageOrderLimit);
    } = RingPageOrderLimit;

    /// <summary>Offered as multi-queue-max-queues: 1 to 128.</summary>
    public int MaxQueues
    {
        get;
        init => field = Math.Clamp(value, 1, QueuesLimit);
    } = Math.Clamp(Environment.ProcessorCount, 1, 16);

    /// <summary>Offered as feature-max-indirect-segments; 0: not offered.</summary>
    public int MaxIndirectSegments { get; init; } = 256;

    /// <summary>
    /// How the guest's pages are reached; feature-persistent is offered only with
    /// <see cref="Queues.GrantMode.Persistent"/>. Null: as <see cref="GrantModes.Resolve"/> says for the disk.
    /// </summary>
    public GrantMode? GrantMode { get; init; } = Queues.GrantMode.Copy;

    /// <summary>What the device may do at most, until <see cref="XenbusBackend.Limit"/> says otherwise.</summary>
    public ThrottleLimits Limits { get; init; } = new();

    /// <summary>
    /// Offers the image's own sector where that is larger than 512 bytes, as <c>sector-size</c>; not every frontend
    /// can. Never for a drive whose medium may be changed.
    /// </summary>
    public bool NativeSectors { get; init; }

    /// <summary>
    /// False: the image may be written by others at the same time, as with <c>mode</c> w!
    /// (<see cref="FileDisk.Lock"/>).
    /// </summary>
    public bool Lock { get; init; } = true;

    /// <summary>See <see cref="VbdQueueOptions.MaxInFlight"/>.</summary>
    public int? MaxInFlight { get; init; }

    /// <summary>False: writes are refused whatever the toolstack's <c>mode</c> says.</summary>
    public bool Writable { get; init; } = true;

    /// <summary>False: DISCARD is not offered whatever the toolstack's <c>discard-enable</c> says.</summary>
    public bool Discard { get; init; } = true;
}
