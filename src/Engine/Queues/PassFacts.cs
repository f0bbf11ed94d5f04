namespace Blkring.Engine.Queues;

/// <summary>What a pass reads once, for all its requests.</summary>
internal struct PassFacts
{
    /// <summary>When the pass took its requests: a timestamp of the queue's clock.</summary>
    public long StartedAt;

    /// <summary>The length of the disk.</summary>
    public long CapacitySectors;
}
