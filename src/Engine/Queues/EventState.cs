namespace Blkring.Engine.Queues;

/// <summary>What was last asked of the frontend's events, and what became of the channel.</summary>
internal struct EventState
{
    /// <summary>req_event asks for the next request: the frontend will notify it.</summary>
    public bool IsArmed;

    /// <summary>An event was taken, which masked the channel; it has not been unmasked since.</summary>
    public bool IsMasked;
}
