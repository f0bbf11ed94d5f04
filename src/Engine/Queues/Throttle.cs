using System.Diagnostics;

namespace Blkring.Engine.Queues;

/// <summary>The limits of a device; 0 is no limit.</summary>
public sealed record ThrottleLimits
{
    /// <summary>The steady rate, in requests per second.</summary>
    public long Iops { get; init; }

    /// <summary>
    /// The number of requests that may come at once after a pause, before the steady rate applies. At least one, and at
    /// least what 10 ms earn.
    /// </summary>
    public long IopsBurst { get; init; }

    /// <summary>The steady rate, in bytes per second.</summary>
    public long BytesPerSecond { get; init; }

    /// <summary>The number of bytes that may come at once after a pause. At least what 10 ms earn.</summary>
    public long BytesBurst { get; init; }
}

/// <summary>
/// Holds a device to its limits. Its queues, on any threads, ask before they take a request and then charge what it
/// costs. Limits may change at any time.
/// </summary>
/// <remarks>
/// Virtual scheduling (GCRA), one number per limit: the time at which all that was charged will have been earned. A
/// request may start when that time is at most a burst ahead. It is charged in full once started, so a request larger
/// than the burst passes too, and the next one waits longer. Lock-free; two queues that ask at the same time may both
/// pass, and the next request pays for it.
/// </remarks>
public sealed class Throttle
{
    /// <summary>
    /// What a flush is charged of a limit of bytes, and the least that a discard is: neither moves data, but both keep
    /// the store busy.
    /// </summary>
    public const int LeastCostBytes = 16 * 1024;

    /// <summary>A discard is charged one byte for so many that it discards.</summary>
    private const int DiscardedBytesPerByte = 1024;

    private readonly Bucket _operations = new(),
        _bytes = new();
    private ThrottleLimits _limits = new();
    private bool _limited;

    /// <summary>The limits now.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A limit is negative.</exception>
    public ThrottleLimits Limits
    {
        get => Volatile.Read(ref _limits);
        set
        {
            _operations.Set(value.Iops, Math.Max(value.IopsBurst, 1));
            _bytes.Set(value.BytesPerSecond, value.BytesBurst);
            Volatile.Write(ref _limits, value);
            Volatile.Write(ref _limited, value.Iops > 0 || value.BytesPerSecond > 0);
        }
    }

    /// <summary>False when nothing is limited: nothing need be asked or charged.</summary>
    public bool IsLimited => Volatile.Read(ref _limited);

    /// <summary>Whether one more request may start.</summary>
    /// <param name="now">A <see cref="Stopwatch"/> timestamp.</param>
    public bool MayStart(long now) => _operations.IsOpen(now) && _bytes.IsOpen(now);

    /// <summary>A request has started.</summary>
    public void ChargeRequest(long now) => _operations.Charge(now, 1);

    /// <summary>Charges the bytes that the request will transfer.</summary>
    public void ChargeBytes(long now, long bytes) => _bytes.Charge(now, bytes);

    /// <summary>Charges a flush, apart from the bytes that it may write.</summary>
    public void ChargeFlush(long now) => _bytes.Charge(now, LeastCostBytes);

    /// <summary>Charges a discard of that many bytes.</summary>
    public void ChargeDiscard(long now, long bytes) =>
        _bytes.Charge(now, Math.Max(bytes / DiscardedBytesPerByte, LeastCostBytes));

    /// <summary>Gives back bytes that were charged and will not be transferred.</summary>
    public void RefundBytes(long bytes) => _bytes.Refund(bytes);

    private sealed class Bucket
    {
        // Units per second; 0 is no limit.
        private long _rate;

        // Never less than what is earned between two passes of a throttled queue, even if they are late: otherwise a
        // steady rate of more than one request per pass could not be reached.
        private static readonly long s_leastBurstTicks = Stopwatch.Frequency / 100;
        private long _burstTicks;
        private long _earnedAt;

        public void Set(long rate, long burst)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(rate);
            ArgumentOutOfRangeException.ThrowIfNegative(burst);
            Volatile.Write(ref _burstTicks, rate == 0 ? 0 : Math.Max(Ticks(burst, rate), s_leastBurstTicks));
            Volatile.Write(ref _rate, rate);
            // What was owed under another rate is forgotten: a limit that is lifted works at once.
            Volatile.Write(ref _earnedAt, 0);
        }

        public bool IsOpen(long now) =>
            Volatile.Read(ref _rate) == 0
            || Volatile.Read(ref _earnedAt) - now <= Math.Max(Volatile.Read(ref _burstTicks) - 1, 0);

        public void Charge(long now, long units)
        {
            long rate = Volatile.Read(ref _rate);
            if (rate == 0 || units == 0)
                return;
            long cost = Ticks(units, rate);
            long seen = Volatile.Read(ref _earnedAt);
            while (true)
            {
                long before = Interlocked.CompareExchange(ref _earnedAt, Math.Max(seen, now) + cost, seen);
                if (before == seen)
                    return;
                seen = before;
            }
        }

        public void Refund(long units)
        {
            long rate = Volatile.Read(ref _rate);
            // What was charged under another rate is forgotten already; less than nothing is owed as nothing is.
            if (rate != 0)
                Interlocked.Add(ref _earnedAt, -Ticks(units, rate));
        }

        // 128 bits: a terabyte times the clock's frequency is more than 64.
        private static long Ticks(long units, long rate) =>
            (long)UInt128.Min((UInt128)units * (ulong)Stopwatch.Frequency / (ulong)rate, long.MaxValue / 4);
    }
}
