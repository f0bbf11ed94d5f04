using System.Diagnostics;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Tests.Queues;

public sealed class StopwatchClockTests
{
    [Theory]
    [InlineData(10_000_000)]
    [InlineData(1000)]
    public void Another_frequency_is_converted(long frequency)
    {
        TimeProvider clock = new VbdQueueOptions { Clock = new SlowClock(frequency) }.Clock;
        Assert.Equal(Stopwatch.Frequency, clock.TimestampFrequency);
        Assert.Equal(5 * Stopwatch.Frequency, clock.GetTimestamp());
    }

    [Fact]
    public void The_systems_clock_is_taken_as_it_is() =>
        Assert.Same(TimeProvider.System, new VbdQueueOptions { Clock = TimeProvider.System }.Clock);

    /// <summary>It is five seconds past its start.</summary>
    private sealed class SlowClock(long frequency) : TimeProvider
    {
        public override long TimestampFrequency => frequency;

        public override long GetTimestamp() => 5 * frequency;
    }
}
