using System.Diagnostics;

namespace Blkring.Engine.Tests.Kit;

/// <summary>A clock that only the test moves.</summary>
internal sealed class HandClock : TimeProvider
{
    private long _now = Stopwatch.GetTimestamp();

    /// <summary>The time by which each reading moves the clock.</summary>
    public TimeSpan Reading { get; set; }

    public void Advance(TimeSpan time) => _now += (long)(time.TotalSeconds * TimestampFrequency);

    public override long GetTimestamp()
    {
        Advance(Reading);
        return _now;
    }
}
