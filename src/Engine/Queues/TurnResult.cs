namespace Blkring.Engine.Queues;

/// <summary>What a queue wants next from the thread that turns it.</summary>
public enum TurnResult : byte
{
    /// <summary>Nothing until an event or a completion.</summary>
    Idle,

    /// <summary>The ring holds requests that this pass did not take: turn again.</summary>
    More,

    /// <summary>
    /// The disk said EAGAIN, or the device has used up what its limits allow: turn again, but not at once.
    /// </summary>
    Retry,
}
