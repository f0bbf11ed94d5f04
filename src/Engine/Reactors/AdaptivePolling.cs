namespace Blkring.Engine.Reactors;

/// <summary>
/// Decides whether a thread with nothing to do looks for a while before it sleeps, and for how long. Looking pays when
/// the next request comes sooner than a wake-up takes, and on a CPU of its own; it must cost nothing when guests are
/// idle, and little where the frontend needs this very CPU.
/// </summary>
/// <remarks>
/// A sleep that was shorter than the window says that looking would have met the work, so the next time it is tried; a
/// long one says that the guests are idle. A look in vain says that it does not pay here (the frontend waits for this
/// CPU): it is tried again after one more sleep, then 3, 7 and so on up to <see cref="MaxSkippedSleeps"/>, until one
/// succeeds.
/// <para>
/// Where work takes long, as on a slow or emulated machine, so do wake-ups and the frontend's own work: the window is
/// at least <see cref="WindowsOfWork"/> times what the thread works between two rests. That makes it at most so many
/// times as busy again.
/// </para>
/// </remarks>
/// <param name="leastNs">The window where work is short; 0 never looks.</param>
internal struct AdaptivePolling(long leastNs)
{
    public const int MaxSkippedSleeps = 1023;
    public const int WindowsOfWork = 2;

    /// <summary>The longest window, in shortest ones.</summary>
    public const int MaxGrowth = 6;

    /// <summary>The share of a new stretch of work in the smoothed one.</summary>
    private const int Smoothing = 8;

    private bool _looks;
    private int _skip,
        _backoff;
    private long _workNs;

    /// <summary>How long to look before the next sleep, 0 to sleep at once.</summary>
    public readonly long WindowNs => _looks ? LookNs : 0;

    private readonly long LookNs => Math.Max(leastNs, WindowsOfWork * _workNs);

    /// <summary>The thread had something to do for so long, from one rest to the next.</summary>
    public void Worked(long ns) => _workNs += (Math.Min(ns, leastNs * MaxGrowth / WindowsOfWork) - _workNs) / Smoothing;

    public void Slept(long ns)
    {
        if (_skip > 0)
            _skip--;
        _looks = _skip == 0 && ns < LookNs;
    }

    public void Found() => _backoff = 0;

    public void LookedInVain()
    {
        _backoff = Math.Min((_backoff * 2) + 1, MaxSkippedSleeps);
        _skip = _backoff;
        _looks = false;
    }
}
