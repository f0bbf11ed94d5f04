using Blkring.Engine.Queues;

namespace Blkring.Engine.Vbds;

/// <summary>How one device's rings are served.</summary>
public sealed record VbdOptions : ServingOptions
{
    /// <summary>The default number of segments per INDIRECT request: a request of 1 MiB.</summary>
    public const int DefaultIndirectSegments = 256;

    public VbdOptions() => MaxIndirectSegments = DefaultIndirectSegments;

    /// <summary>
    /// The path of the rings' journals, to which the number of the ring is appended. Null: no journals; requests that
    /// are in flight when the process is killed are then lost.
    /// </summary>
    public string? JournalPath { get; init; }

    /// <summary>The budget for mapped pages; a queue for which too little is left copies instead.</summary>
    public MappingBudget MappingBudget { get; init; } = MappingBudget.OfProcess;
}
