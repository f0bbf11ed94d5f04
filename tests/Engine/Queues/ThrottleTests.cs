using System.Diagnostics;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Tests.Queues;

/// <summary>The arithmetic of limits, on a clock of the test's own.</summary>
public sealed class ThrottleTests
{
    private static readonly long s_second = Stopwatch.Frequency;

    [Theory]
    [InlineData(100, 1, 100 + 1)]
    [InlineData(100, 50, 100 + 50)]
    [InlineData(1, 1, 1 + 1)]
    [InlineData(250_000, 10_000, 250_000 + 10_000)]
    [Proves("F17")]
    public void In_the_first_second_a_burst_and_the_steady_rate_pass(long iops, long burst, long expected)
    {
        Throttle throttle = new()
        {
            Limits = new ThrottleLimits { Iops = iops, IopsBurst = burst },
        };
        Assert.InRange(Count(throttle, s_second, s_second, bytes: 4096), expected - 2, expected);
        // The burst is used up: from now on the steady rate alone.
        Assert.InRange(Count(throttle, 2 * s_second, s_second, bytes: 4096), iops - 2, iops + 1);
        // A rest earns it again, however long the rest.
        Assert.InRange(Count(throttle, 3600 * s_second, s_second, bytes: 4096), expected - 2, expected);
    }

    // A queue that is held back is looked at again after a millisecond, or later on a busy machine; what was allowed
    // meanwhile is not lost.
    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    [InlineData(9)]
    [Proves("F17")]
    public void A_steady_rate_of_many_requests_a_look_is_reached_without_a_burst(int msBetweenLooks)
    {
        const int Iops = 50_000;
        Throttle throttle = new() { Limits = new ThrottleLimits { Iops = Iops } };
        long taken = 0;
        for (int look = 0; look < 1000; look++)
        {
            long now = s_second + (look * (s_second / 1000) * msBetweenLooks);
            for (; throttle.MayStart(now); taken++)
                throttle.ChargeRequest(now);
        }
        double seconds = 999 * msBetweenLooks / 1000.0;
        Assert.InRange(taken, 0.999 * Iops * seconds, (1.001 * Iops * seconds) + (Iops / 100));
    }

    [Fact]
    public void Bytes_are_limited_whatever_the_requests_are()
    {
        foreach (int bytes in (int[])[512, 4096, 45056, 1 << 20])
        {
            Throttle throttle = new()
            {
                Limits = new ThrottleLimits { BytesPerSecond = 10 << 20, BytesBurst = 1 << 20 },
            };
            long moved = Count(throttle, s_second, 10 * s_second, bytes) * bytes;
            // The last request may be charged past the end.
            Assert.InRange(moved, (101L << 20) - bytes - 4096, (101L << 20) + bytes);
        }
    }

    [Fact]
    public void A_request_larger_than_the_burst_passes_and_the_next_waits_the_longer()
    {
        Throttle throttle = new()
        {
            Limits = new ThrottleLimits { BytesPerSecond = 1 << 20, BytesBurst = 4096 },
        };
        Assert.True(throttle.MayStart(s_second));
        throttle.ChargeBytes(s_second, 4 << 20);
        Assert.False(throttle.MayStart((s_second * 4) + (s_second / 2)));
        Assert.True(throttle.MayStart(s_second * 5));
    }

    [Fact]
    public void Both_limits_hold_and_the_tighter_one_decides()
    {
        Throttle throttle = new()
        {
            Limits = new ThrottleLimits { Iops = 1000, BytesPerSecond = 100 * 4096 },
        };
        Assert.InRange(Count(throttle, s_second, s_second, bytes: 4096), 99, 102);
        throttle.Limits = new ThrottleLimits { Iops = 10, BytesPerSecond = 100 * 4096 };
        Assert.InRange(Count(throttle, 10 * s_second, s_second, bytes: 4096), 9, 12);
    }

    [Fact]
    [Proves("F17")]
    public void Limits_change_live_and_what_was_owed_is_forgotten()
    {
        Throttle throttle = new() { Limits = new ThrottleLimits { Iops = 1 } };
        throttle.ChargeRequest(s_second);
        throttle.ChargeRequest(s_second);
        Assert.False(throttle.MayStart(s_second));
        throttle.Limits = new ThrottleLimits();
        Assert.False(throttle.IsLimited);
        Assert.True(throttle.MayStart(s_second));
        throttle.Limits = new ThrottleLimits { Iops = 1 };
        Assert.True(throttle.IsLimited && throttle.MayStart(s_second));
    }

    [Fact]
    public void A_limit_at_the_end_of_the_range_does_not_wrap()
    {
        Throttle throttle = new()
        {
            Limits = new ThrottleLimits
            {
                BytesPerSecond = 1,
                BytesBurst = long.MaxValue,
                Iops = long.MaxValue,
                IopsBurst = long.MaxValue,
            },
        };
        for (int i = 0; i < 10; i++)
        {
            throttle.ChargeRequest(s_second);
            throttle.ChargeBytes(s_second, 1 << 30);
        }
        Assert.True(throttle.MayStart(s_second));
        Assert.Throws<ArgumentOutOfRangeException>(() => throttle.Limits = new ThrottleLimits { Iops = -1 });
    }

    /// <summary>Requests that pass in a time when one more is always waiting.</summary>
    private static long Count(Throttle throttle, long start, long length, long bytes)
    {
        long count = 0,
            step = Math.Max(s_second / 1_000_000, 1);
        for (long now = start; now < start + length; now += step)
        {
            while (throttle.MayStart(now))
            {
                throttle.ChargeRequest(now);
                throttle.ChargeBytes(now, bytes);
                count++;
            }
        }
        return count;
    }
}
