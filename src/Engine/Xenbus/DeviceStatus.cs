using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Xenbus;

/// <summary>The status of a device, read without waiting for anything.</summary>
public sealed record DeviceStatus
{
    public required DeviceId Id { get; init; }

    /// <summary>backend/vbd3/7/51712, below the backend's own domain.</summary>
    public required string BackendPath { get; init; }

    /// <summary>Null until the toolstack has written it.</summary>
    public string? FrontendPath { get; init; }

    public required XenbusState BackendState { get; init; }
    public required XenbusState FrontendState { get; init; }

    /// <summary>False: the toolstack wants the device gone.</summary>
    public required bool IsOnline { get; init; }

    /// <summary>One line about the open image or device; null when none is open.</summary>
    public string? Image { get; init; }

    /// <summary>The open image or device; null when none is open, or when it has no path.</summary>
    public string? ImagePath { get; init; }

    /// <summary><see cref="ImagePath"/> is a block device.</summary>
    public bool IsBlockDevice { get; init; }

    /// <summary>The image is locked before it is served; false where it is shared on purpose.</summary>
    public bool IsLocked { get; init; }

    /// <summary>The lock that is held; null when no image is open.</summary>
    public ImageLock? HeldLock { get; init; }

    /// <summary>A block device that the kernel lets nobody else use exclusively.</summary>
    public bool IsClaimed { get; init; }

    public long CapacitySectors { get; init; }
    public bool IsReadOnly { get; init; }

    /// <summary>A ring is being served.</summary>
    public bool IsConnected { get; init; }

    /// <summary>The frontend's key; null when it wrote none.</summary>
    public string? Protocol { get; init; }

    /// <summary>Pages of each ring; 0 when none is served.</summary>
    public int RingPages { get; init; }

    /// <summary>The guest's pages that its queues may have mapped at a time; 0 if pages are copied.</summary>
    public int MaxMappedPages { get; init; }

    /// <summary>The queues being served, with their statistics.</summary>
    public IReadOnlyList<VbdQueue> Queues { get; init; } = [];

    /// <summary>The keys that describe the device to its frontend, as they were last written.</summary>
    public IReadOnlyDictionary<string, string> Features { get; init; } =
        System.Collections.ObjectModel.ReadOnlyDictionary<string, string>.Empty;

    /// <summary>The limits in force.</summary>
    public ThrottleLimits Limits { get; init; } = new();

    /// <summary>A guest has the device, and the host keeps it from being served: <see cref="Error"/>.</summary>
    public bool IsWaiting { get; init; }

    /// <summary>The device waits until an operator decides: <see cref="XenbusBackend.Continue"/>.</summary>
    public bool NeedsDecision { get; init; }

    /// <summary>Paused by command.</summary>
    public bool IsPaused { get; init; }

    /// <summary>
    /// The device is stopping, and its disk still holds requests; the stop is tried again in the background.
    /// </summary>
    public bool IsStopping { get; init; }

    /// <summary>What the device waits for just now, an image or a request in its disk; null when nothing.</summary>
    public DeviceDelay? Delay { get; init; }

    /// <summary>
    /// The store came back empty while the device was served: it stays served, but no key can change it.
    /// </summary>
    public bool IsOrphan { get; init; }

    /// <summary>Why the device is not served; null when nothing is wrong.</summary>
    public EngineError? Error { get; init; }

    /// <summary><see cref="Error"/> as it was logged: one line, with the advice of the command line.</summary>
    public string? LastError { get; init; }
}
