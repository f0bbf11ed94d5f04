namespace Blkring.Engine.Queues;

/// <summary>What was last asked of the frontend's events, and what became of the channel.</summary>
/// <remarks>
/// An event is spurious if no request was taken between it and the one before. The channel then stays masked for a
/// while, longer each time, as Linux does it: a frontend that only sends events cannot keep the thread awake. An event
/// that came after its request was found by polling is not spurious, because that request counts.
/// </remarks>
internal struct EventState
{
    /// <summary>Spurious events in a row that cost a frontend nothing.</summary>
    public const int FreeEvents = 1;
    public const long ShortestHoldNs = 1_000_000;
    private const int MostDoublings = 10;

    /// <summary>req_event asks for the next request: the frontend will notify it.</summary>
    public bool IsArmed;

    /// <summary>An event was taken, which masked the channel; it has not been unmasked since.</summary>
    public bool IsMasked;

    private uint _consumer;
    private int _spurious;
    private long _heldSince,
        _holdNs;

    /// <summary>Whether the channel stays masked, and for how long.</summary>
    /// <param name="consumer">The consumer index: it has moved if requests were taken.</param>
    /// <returns>0 if it is to be unmasked now; otherwise nanoseconds, after which this is to be asked again.</returns>
    public long HoldNs(uint consumer, TimeProvider clock)
    {
        if (consumer != _consumer)
        {
            (_consumer, _spurious, _holdNs) = (consumer, 0, 0);
            return 0;
        }
        if (_spurious < FreeEvents)
        {
            _spurious++;
            return 0;
        }
        long now = clock.GetTimestamp();
        if (_holdNs == 0)
        {
            (_heldSince, _holdNs) = (now, ShortestHoldNs << (_spurious - FreeEvents));
            _spurious = Math.Min(_spurious + 1, FreeEvents + MostDoublings);
        }
        long left = _holdNs - (long)clock.GetElapsedTime(_heldSince, now).TotalNanoseconds;
        if (left > 0)
            return left;
        _holdNs = 0;
        return 0;
    }
}
