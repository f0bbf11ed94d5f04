using System.Diagnostics;

namespace Blkring.Xenbus.Tests.Kit;

/// <summary>Waits that only ever end early: the limit is there to fail with a sentence instead of hanging.</summary>
internal static class Wait
{
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    public static void Until(Func<bool> condition, string what) => Until(condition, () => what);

    public static void Until(Func<bool> condition, Func<string> what)
    {
        long start = Stopwatch.GetTimestamp();
        while (!condition())
        {
            Assert.True(Stopwatch.GetElapsedTime(start) < Limit, $"waited {Limit.TotalSeconds} s in vain: {what()}");
            Thread.Sleep(2);
        }
    }
}
