using Blkring.Engine.Hypervisor;

namespace Blkring.Engine.Vbds;

/// <summary>What a frontend says of itself when it is ready (its xenstore area).</summary>
public sealed record VbdConnection
{
    public required DomainId Frontend { get; init; }

    /// <summary>The key <c>protocol</c>; null when it is absent (B22).</summary>
    public string? Protocol { get; init; }

    /// <summary>One, or with multi-queue-num-queues those of queue-0, queue-1 and so on.</summary>
    public required IReadOnlyList<VbdRing> Rings { get; init; }

    /// <summary>
    /// feature-persistent: the frontend uses the same grants again, and lets the backend keep them mapped.
    /// </summary>
    public bool PersistentGrants { get; init; }

    /// <summary>
    /// The rings were served before, by a backend that has answered all it took: they go on where the responses ended,
    /// instead of at 0.
    /// </summary>
    public bool Resume { get; init; }
}

/// <summary>One ring of a frontend.</summary>
public sealed record VbdRing
{
    /// <summary>ring-ref, or ring-ref0 and so on in order.</summary>
    public required IReadOnlyList<GrantReference> References { get; init; }

    /// <summary>event-channel</summary>
    public required EventChannelPort EventChannel { get; init; }
}
