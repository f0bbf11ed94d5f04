using Blkring.Engine.Queues;

namespace Blkring.Engine.Vbds;

/// <summary>How one device's rings are served.</summary>
public sealed record VbdOptions : ServingOptions
{
    /// <summary>Segments per INDIRECT request unless set: a request of 1 MiB.</summary>
    public const int DefaultIndirectSegments = 256;

    public VbdOptions() => MaxIndirectSegments = DefaultIndirectSegments;

    /// <summary>
    /// The path of the rings' journals, to which the number of the ring is appended. Null keeps none: requests in
    /// flight when the process is killed are then lost to the guest.
    /// </summary>
    public string? JournalPath { get; init; }

    /// <summary>The budget for mapped pages; a queue for which it does not suffice copies.</summary>
    public MappingBudget MappingBudget { get; init; } = MappingBudget.OfProcess;
}
