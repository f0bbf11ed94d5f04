using Blkring.Engine.Disks;

namespace Blkring.Engine.Queues;

/// <summary>
/// How a device is served, as each of its queues needs to know; a queue's options are a copy with more.
/// </summary>
public abstract record ServingOptions
{
    /// <summary>Everything but READ is refused (B6), even if the disk itself can be written.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>
    /// The number of slots per queue, to save memory (44 KiB each); null for one per entry of the ring (B1).
    /// </summary>
    public int? MaxInFlight { get; init; }

    /// <summary>
    /// The number of segments per INDIRECT request (feature-max-indirect-segments), at most
    /// <see cref="VbdQueueOptions.IndirectSegmentsLimit"/>; 0 does not offer INDIRECT.
    /// </summary>
    public int MaxIndirectSegments { get; init; }

    /// <summary>
    /// The memory per queue that INDIRECT requests share for their segments and data. When it is used up they wait, in
    /// order. It is at least enough for one of the longest requests, and at most for one per slot.
    /// </summary>
    public int IndirectMemoryBytes { get; init; } = DefaultIndirectMemoryBytes;

    /// <summary>
    /// Seven requests of 1 MiB or a hundred of 64 KiB at a time: enough for a fast disk, and a quarter of what a full
    /// page of them would take.
    /// </summary>
    internal const int DefaultIndirectMemoryBytes = 8 << 20;

    /// <summary>
    /// Access to the guest's pages, as resolved by <see cref="GrantModes.Resolve"/> for the disk and by
    /// <see cref="GrantModes.ForFrontend"/> for the frontend.
    /// </summary>
    public GrantMode GrantMode { get; init; }

    /// <summary>
    /// The number of pages per queue that stay mapped with persistent grants; null for enough for a ring of requests of
    /// the usual lengths where there is room, and at least 1056, which is what Linux keeps. Requests wait, in order,
    /// while those in flight use all of them.
    /// </summary>
    public int? MaxPersistentGrants { get; init; }

    /// <summary>A page that no request has used for this long is unmapped.</summary>
    public TimeSpan PersistentIdle { get; init; } = DefaultPersistentIdle;
    internal static readonly TimeSpan DefaultPersistentIdle = TimeSpan.FromSeconds(60);

    /// <summary>
    /// The frontend was told the disk's own sector size (<see cref="Disk.LogicalSectorBytes"/>) and not 512: a request
    /// that is not whole blocks is an error. Otherwise such a request reads and writes whole blocks.
    /// </summary>
    public bool NativeSectors { get; init; }

    /// <summary>
    /// Requests that a full or lost disk refuses are kept unanswered (<see cref="VbdQueue.LostErrno"/>), for the next
    /// queue to replay from the journal. Without a journal they fail, as they do if this is false.
    /// </summary>
    public bool KeepsLostRequests { get; init; }

    /// <summary>
    /// The limits of the device, which its queues share and which may change at any time; null for no limits, ever.
    /// </summary>
    public Throttle? Throttle { get; init; }
}
