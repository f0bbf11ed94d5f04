namespace Blkring.Engine.Queues;

/// <summary>When a queue wants its next pass.</summary>
public enum PassResult : byte
{
    /// <summary>After an event or a completion.</summary>
    Idle,

    /// <summary>Now: the pass left requests on the ring, or freed what others wait for.</summary>
    More,

    /// <summary>
    /// Soon, but not now: the disk said EAGAIN, the device has reached its limits, or a write waits for blocks that
    /// another queue writes.
    /// </summary>
    Retry,
}
