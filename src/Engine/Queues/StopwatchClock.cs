using System.Diagnostics;

namespace Blkring.Engine.Queues;

/// <summary>
/// Another clock, with timestamps of the frequency of <see cref="Stopwatch"/>: the data path computes with that one.
/// </summary>
internal sealed class StopwatchClock : TimeProvider
{
    private readonly TimeProvider _clock;
    private readonly double _ratio;

    private StopwatchClock(TimeProvider clock) =>
        (_clock, _ratio) = (clock, (double)Stopwatch.Frequency / clock.TimestampFrequency);

    public override long TimestampFrequency => Stopwatch.Frequency;

    /// <summary>The clock itself where it has that frequency, as the system's has.</summary>
    public static TimeProvider Of(TimeProvider clock) =>
        clock.TimestampFrequency == Stopwatch.Frequency ? clock : new StopwatchClock(clock);

    public override long GetTimestamp() => (long)(_clock.GetTimestamp() * _ratio);
}
