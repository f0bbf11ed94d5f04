using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Xenbus;

/// <summary>What a backend serves, and its timeouts.</summary>
public sealed record BackendOptions
{
    /// <summary>The directory below <c>backend/</c> to watch: <see cref="BackendSettings.Backend"/>.</summary>
    public string Directory { get; init; } = BackendSettings.Backend.Default;

    /// <summary>The only domain to serve; null for all: <see cref="BackendSettings.Frontend"/>.</summary>
    public DomainId? Frontend { get; init; }

    /// <summary>The file for limits that a command asked to keep; null: none can be kept.</summary>
    public string? LimitsFile { get; init; }

    /// <summary>The options of each device; called again whenever its disk is opened.</summary>
    public Func<DeviceIdentity, DeviceOptions> Device { get; init; } = _ => new DeviceOptions();

    /// <summary>
    /// The number of guests' pages that may be mapped at a time, for all devices; null for what the hypervisor has for
    /// it (<see cref="IHypervisor.MappableGrants"/>): <see cref="BackendSettings.MaxMappedGrants"/>.
    /// </summary>
    public int? MaxMappedGrants { get; init; }

    /// <summary>
    /// How long a step waits for requests in flight before it reports the device and tries again in the background.
    /// </summary>
    public TimeSpan DrainTimeout { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>
    /// How long a command waits for its device, and for what it does there. A command that takes longer is answered
    /// with <see cref="ErrorCode.DeviceBusy"/>, and goes on in the background.
    /// </summary>
    public TimeSpan CommandTimeout { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long a device that connects waits for the lock of its image before it fails.</summary>
    public TimeSpan LockTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>The time between checks whether an image or block device has grown.</summary>
    public TimeSpan GrowthInterval { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// How long a round of an I/O thread, or a turn of the thread that watches the store, may last before the process
    /// counts as sick. Nothing that is stuck in a system call counts.
    /// </summary>
    public TimeSpan RoundLimit { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// The folder of the rings' journals (<see cref="RingJournal"/>), on a memory file system and private to this
    /// user; it is created if it is missing. Null: no journals.
    /// </summary>
    public string? JournalFolder { get; init; }

    /// <summary>
    /// What to do about an error, in terms of options and configuration keys; null when there is nothing to add. It
    /// follows the error in the log, in xenstore and in <see cref="DeviceStatus.LastError"/>.
    /// </summary>
    public Func<EngineError, string?> Advice { get; init; } = _ => null;

    /// <summary>Who opens images: this process, or one with more privileges.</summary>
    public IFileOpener Opener { get; init; } = OwnOpener.Instance;

    /// <summary>Opens the image that params or physical-device names; it may block.</summary>
    public Func<string, FileDiskOptions, Disk> OpenImage { get; init; } = FileDisk.Open;
}
