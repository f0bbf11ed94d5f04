using System.Diagnostics;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// Lets a burst of log lines through, then one in ten seconds: what a guest can cause, it can cause in a loop.
/// </summary>
internal sealed class LogLimiter
{
    private const int Burst = 20;
    private static readonly TimeSpan s_refill = TimeSpan.FromSeconds(10);

    private readonly Lock _lock = new();
    private double _tokens = Burst;
    private long _refilled = Stopwatch.GetTimestamp();
    private long _suppressed;

    /// <param name="suppressed">Lines left out since the one before.</param>
    public bool TryTake(out long suppressed)
    {
        lock (_lock)
        {
            long now = Stopwatch.GetTimestamp();
            _tokens = Math.Min(Burst, _tokens + (Stopwatch.GetElapsedTime(_refilled, now) / s_refill));
            _refilled = now;
            if (_tokens < 1)
            {
                _suppressed++;
                suppressed = 0;
                return false;
            }
            _tokens--;
            (suppressed, _suppressed) = (_suppressed, 0);
            return true;
        }
    }
}
