namespace Blkring.Engine.Xenbus;

/// <summary>
/// Limits a device's log lines to a burst of 20 and then one per 10 seconds: a guest can repeat in a loop whatever
/// causes a line.
/// </summary>
internal sealed class LogLimiter(TimeProvider time)
{
    private const int Burst = 20;
    private static readonly TimeSpan s_refill = TimeSpan.FromSeconds(10);

    private readonly Lock _lock = new();
    private double _tokens = Burst;
    private long _refilled = time.GetTimestamp();
    private long _suppressed;

    /// <param name="suppressed">The number of lines left out since the last one that passed.</param>
    public bool TryTake(out long suppressed)
    {
        lock (_lock)
        {
            long now = time.GetTimestamp();
            _tokens = Math.Min(Burst, _tokens + (time.GetElapsedTime(_refilled, now) / s_refill));
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
