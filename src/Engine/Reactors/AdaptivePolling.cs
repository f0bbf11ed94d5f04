namespace Blkring.Engine.Reactors;

/// <summary>
/// Decides whether a thread without work busy-polls before it sleeps, and for how long. Polling pays if the next
/// request comes sooner than a wake-up would take, and if the frontend runs on another CPU. It must cost nothing while
/// guests are idle, and little if the frontend needs this CPU.
/// </summary>
/// <remarks>
/// A sleep shorter than the window shows that polling would have found the work, so the thread polls before the next
/// sleep. A longer one shows that the guests are idle. A poll that finds nothing shows that polling does not pay here
/// (the frontend waits for this CPU): the thread polls again after 1 more sleep, then 3, 7 and so on, up to
/// <see cref="MaxSkippedSleeps"/>, until a poll finds work.
/// <para>
/// Where work takes long, as on a slow or emulated machine, wake-ups and the frontend's own work take long as well. So
/// the window is at least <see cref="WindowsOfWork"/> times as long as the thread works between two pauses, which
/// bounds what polling costs by the same factor.
/// </para>
/// </remarks>
/// <param name="minWindowNs">The window where work is short; 0 never polls.</param>
internal struct AdaptivePolling(long minWindowNs)
{
    public const int MaxSkippedSleeps = 1023;
    public const int WindowsOfWork = 2;

    /// <summary>The longest window, as a multiple of the shortest.</summary>
    public const int MaxGrowth = 6;

    /// <summary>The weight of a new stretch of work in the average is one over this number.</summary>
    private const int Smoothing = 8;

    private bool _polls;
    private int _sleepsToSkip,
        _backoff;
    private long _workNs;

    /// <summary>How long to poll before the next sleep; 0 to sleep at once.</summary>
    public readonly long WindowNs => _polls ? FullWindowNs : 0;

    private readonly long FullWindowNs => Math.Max(minWindowNs, WindowsOfWork * _workNs);

    /// <summary>Notes that the thread has worked without a pause.</summary>
    public void Worked(long ns) =>
        _workNs += (Math.Min(ns, minWindowNs * MaxGrowth / WindowsOfWork) - _workNs) / Smoothing;

    /// <summary>Notes that the thread has slept until there was work.</summary>
    public void Slept(long ns)
    {
        if (_sleepsToSkip > 0)
            _sleepsToSkip--;
        _polls = _sleepsToSkip == 0 && ns < FullWindowNs;
    }

    /// <summary>Notes that a poll found work.</summary>
    public void PollHit() => _backoff = 0;

    /// <summary>Notes that a poll found no work in the whole window.</summary>
    public void PollMissed()
    {
        _backoff = Math.Min((_backoff * 2) + 1, MaxSkippedSleeps);
        _sleepsToSkip = _backoff;
        _polls = false;
    }
}
