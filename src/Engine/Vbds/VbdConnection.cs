using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Vbds;

/// <summary>What a frontend publishes in its xenstore area when it is ready.</summary>
public sealed record VbdConnection
{
    public required DomainId Frontend { get; init; }

    /// <summary>The key <c>protocol</c>; null when it is absent (B22).</summary>
    public string? Protocol { get; init; }

    /// <summary>One ring, or with multi-queue-num-queues those of queue-0, queue-1 and so on.</summary>
    public required IReadOnlyList<VbdRing> Rings { get; init; }

    /// <summary>
    /// feature-persistent: the frontend uses the same grants again and again, so the backend can keep them mapped.
    /// </summary>
    public bool PersistentGrants { get; init; }

    /// <summary>
    /// The rings may have been served by an earlier daemon: service continues after the last response, and the requests
    /// in a ring's journal are replayed. False: service starts at index 0.
    /// </summary>
    public bool Takeover { get; init; }

    /// <summary>
    /// With <see cref="Takeover"/>, by an operator's decision: the journals are lost or cannot be read, and all
    /// requests that have no response are done in the ring's order. Wrong for those that were answered out of order.
    /// </summary>
    public bool ForgoesJournals { get; init; }

    /// <summary>With <see cref="Takeover"/>: the daemon before ended by a fault of its own, not by a kill.</summary>
    public bool AfterCrash { get; init; }

    /// <summary>What an operator said about a request that crashed the daemon too often.</summary>
    public SuspectDecision Suspect { get; init; }
}

/// <summary>One ring of a frontend.</summary>
public sealed record VbdRing
{
    /// <summary>ring-ref, or ring-ref0 and so on in order.</summary>
    public required IReadOnlyList<GrantReference> References { get; init; }

    /// <summary>event-channel</summary>
    public required EventChannelPort EventChannel { get; init; }
}
