using System.Diagnostics;
using Blkring.Abi;
using Blkring.Loopback;

namespace Blkring.Tests.Kit;

/// <summary>
/// Waits that end as soon as the condition holds. The limit turns a test that would hang into one that fails and says
/// why.
/// </summary>
public static class Wait
{
    public const int LimitMs = 60_000;
    public static readonly TimeSpan Limit = TimeSpan.FromMilliseconds(LimitMs);

    /// <summary>For a program that runs to its end: a compiler, a benchmark.</summary>
    public static readonly TimeSpan ProgramLimit = TimeSpan.FromMinutes(5);

    /// <param name="what">What should become true, as a sentence.</param>
    public static void Until(Func<bool> condition, string what) => Until(condition, () => what);

    public static void Until(Func<bool> condition, Func<string> what)
    {
        long start = Stopwatch.GetTimestamp();
        while (!condition())
        {
            if (Stopwatch.GetElapsedTime(start) > Limit)
                throw TimedOut(what());
            Thread.Sleep(1);
        }
    }

    /// <summary>Takes responses as a frontend does: look, final check, sleep until notified.</summary>
    public static List<Blkif.DecodedResponse> ForResponses(Frontend frontend, int count)
    {
        List<Blkif.DecodedResponse> responses = [];
        Blkif.DecodedResponse response = default;
        while (responses.Count < count)
        {
            if (frontend.TryTake(ref response))
                responses.Add(response);
            else if (!frontend.FinalCheckForResponses() && !frontend.WaitForEvent(LimitMs))
                throw TimedOut($"{count} responses come; {responses.Count} came");
        }
        return responses;
    }

    private static TimeoutException TimedOut(string what) => new($"not within {LimitMs / 1000} s: {what}");
}
