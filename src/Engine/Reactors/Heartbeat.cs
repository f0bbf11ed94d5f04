using Blkring.Interop;

namespace Blkring.Engine.Reactors;

/// <summary>
/// Follows one thread's counter of rounds, and tells a thread that is asleep or slow from one that has stopped in the
/// middle of a round. Looked at every second by the control plane; it costs the thread nothing but the counter.
/// </summary>
/// <remarks>
/// A thread that is stuck in a system call is not sick: a kill would not end the call, and would cost every guest of
/// the daemon. Sick is a thread that has run, or waited for a lock of this process, whenever it was looked at: a round
/// that never ends.
/// </remarks>
/// <param name="limit">A thread whose round has lasted this long is reported.</param>
public sealed class Heartbeat(TimeProvider time, TimeSpan limit)
{
    private long _beat = -1,
        _since,
        _ownSince;

    /// <summary>The round has lasted longer than the limit, and the thread is in our own code.</summary>
    public bool IsSpinning { get; private set; }

    /// <summary>How long the thread has been stuck in a system call; zero if it is not.</summary>
    public TimeSpan StuckFor { get; private set; }

    /// <param name="beat">The number of the thread's round; another one at each round.</param>
    /// <param name="asleep">The thread waits for work.</param>
    /// <param name="activity">What the thread does now; asked only if the round has lasted since the last look.</param>
    public void Look(long beat, bool asleep, Func<ThreadActivity> activity)
    {
        long now = time.GetTimestamp();
        if (asleep || beat != _beat)
        {
            (_beat, _since, _ownSince) = (beat, now, now);
            (IsSpinning, StuckFor) = (false, TimeSpan.Zero);
            return;
        }
        bool inKernel = activity() == ThreadActivity.InKernel;
        if (inKernel)
            _ownSince = now;
        TimeSpan lasted = time.GetElapsedTime(_since, now);
        IsSpinning = time.GetElapsedTime(_ownSince, now) >= limit;
        StuckFor = inKernel && lasted >= limit ? lasted : TimeSpan.Zero;
    }
}
