namespace Blkring.Engine;

/// <summary>
/// Decides whether a thread with nothing to do looks for a while before it sleeps. Looking pays when the next request comes sooner than a
/// wake-up takes, and on a CPU of its own; it must cost nothing when guests are idle, and little where the frontend needs this very CPU.
/// </summary>
/// <remarks>
/// A sleep that was shorter than the window says that looking would have met the work, so the next time it is tried; a long one says
/// that the guests are idle. A look in vain says that it does not pay here (the frontend waits for this CPU): it is tried again after one
/// more sleep, then 3, 7 and so on up to <see cref="MaxSkippedSleeps"/>, until one succeeds.
/// </remarks>
internal struct AdaptivePolling(long windowNs)
{
    public const int MaxSkippedSleeps = 1023;

    private bool _looks;
    private int _skip, _backoff;

    /// <summary>How long to look before the next sleep, 0 to sleep at once.</summary>
    public readonly long WindowNs => _looks ? windowNs : 0;

    public void Slept(long ns)
    {
        if (_skip > 0) _skip--;
        _looks = _skip == 0 && ns < windowNs;
    }

    public void Found() => _backoff = 0;

    public void LookedInVain()
    {
        _backoff = Math.Min((_backoff * 2) + 1, MaxSkippedSleeps);
        _skip = _backoff;
        _looks = false;
    }
}
