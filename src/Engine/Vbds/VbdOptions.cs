using Blkring.Engine.Disks;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Vbds;

/// <summary>How one device's rings are served.</summary>
public sealed class VbdOptions
{
    /// <summary>The toolstack's <c>mode</c> is r, or the caller wants no writes.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>See <see cref="VbdQueueOptions.MaxInFlight"/>.</summary>
    public int? MaxInFlight { get; init; }

    /// <summary>
    /// Where the rings' journals are kept, a path that queue numbers are added to; null keeps none, and what is under
    /// way when the process is killed is lost to the guest.
    /// </summary>
    public string? JournalPath { get; init; }

    /// <summary>
    /// What the device may do at most, all its rings together; its limits can change at any time. Null for none, ever.
    /// </summary>
    public Throttle? Throttle { get; init; }

    /// <summary>
    /// feature-max-indirect-segments; 0 does not offer INDIRECT. At most
    /// <see cref="VbdQueueOptions.IndirectSegmentsLimit"/>.
    /// </summary>
    public int MaxIndirectSegments { get; init; } = 256;

    /// <summary>See <see cref="VbdQueueOptions.IndirectMemoryBytes"/>; for each queue.</summary>
    public int IndirectMemoryBytes { get; init; } = VbdQueueOptions.DefaultIndirectMemoryBytes;

    /// <summary>
    /// See <see cref="VbdQueueOptions.NativeSectors"/>: sector-size is <see cref="Disk.LogicalSectorBytes"/>, by
    /// choice.
    /// </summary>
    public bool NativeSectors { get; init; }

    /// <summary>
    /// What <see cref="GrantModes.Resolve"/> says. A frontend without feature-persistent is served by copying instead.
    /// </summary>
    public GrantMode GrantMode { get; init; }

    /// <summary>See <see cref="VbdQueueOptions.MaxPersistentGrants"/>; for each queue.</summary>
    public int? MaxPersistentGrants { get; init; }

    /// <summary>What mapping queues take of; where it does not suffice, a queue copies.</summary>
    public MappingBudget MappingBudget { get; init; } = MappingBudget.OfProcess;

    /// <summary>See <see cref="VbdQueueOptions.PersistentIdle"/>.</summary>
    public TimeSpan PersistentIdle { get; init; } = VbdQueueOptions.DefaultPersistentIdle;
}
