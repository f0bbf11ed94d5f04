using System.Diagnostics;
using Blkring.Abi;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Kit;

/// <summary>Waits that only ever end early: the limit is there to fail with a sentence instead of hanging.</summary>
internal static class Wait
{
    public const int LimitMs = 60_000;
    public static readonly TimeSpan Limit = TimeSpan.FromMilliseconds(LimitMs);

    public static void Until(Func<bool> condition, string what)
    {
        long start = Stopwatch.GetTimestamp();
        while (!condition())
        {
            Assert.True(Stopwatch.GetElapsedTime(start) < Limit, $"waited {LimitMs / 1000} s in vain: {what}");
            Thread.Sleep(1);
        }
    }

    /// <summary>Takes that many responses as a frontend does: look, final check, sleep until notified.</summary>
    public static List<Blkif.DecodedResponse> ForResponses(Frontend frontend, int count)
    {
        List<Blkif.DecodedResponse> responses = [];
        Blkif.DecodedResponse response = default;
        while (responses.Count < count)
        {
            if (frontend.TryTake(ref response))
                responses.Add(response);
            else if (!frontend.FinalCheckForResponses())
                Assert.True(
                    frontend.WaitForEvent(LimitMs),
                    $"waited {LimitMs / 1000} s in vain: {responses.Count} of {count} responses came"
                );
        }
        return responses;
    }
}
