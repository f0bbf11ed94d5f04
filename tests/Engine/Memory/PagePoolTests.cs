using Blkring.Engine.Memory;
using Blkring.Interop;

namespace Blkring.Engine.Tests.Memory;

/// <summary>
/// Lent runs of pages do not overlap, come back, and fit as long as there is a gap that is large enough.
/// </summary>
public sealed unsafe class PagePoolTests
{
    [Theory]
    [InlineData(1), InlineData(63), InlineData(64), InlineData(65), InlineData(257), InlineData(1000)]
    public void Runs_never_overlap_and_a_gap_that_fits_is_found(int pages)
    {
        using MappedMemory memory = MappedMemory.Anonymous(4096);
        PagePool pool = new(null, (ulong*)memory.Address, pages);
        bool[] lent = new bool[pages];
        List<(int First, int Length)> runs = [];
        Random random = new(pages);
        int refused = 0;
        for (int step = 0; step < 20_000; step++)
        {
            if (runs.Count > 0 && random.Next(2) == 0)
            {
                int which = random.Next(runs.Count);
                (int first, int length) = runs[which];
                runs.RemoveAt(which);
                pool.Return(first, length);
                Array.Clear(lent, first, length);
                continue;
            }
            int wanted = 1 + random.Next(Math.Min(pages, 300));
            int taken = pool.TryTake(wanted);
            if (taken == PagePool.None)
            {
                refused++;
                Assert.False(HasGap(lent, wanted), $"a gap of {wanted} was not found");
                continue;
            }
            Assert.InRange(taken, 0, pages - wanted);
            Assert.DoesNotContain(true, lent[taken..(taken + wanted)]);
            Array.Fill(lent, true, taken, wanted);
            runs.Add((taken, wanted));
        }
        Assert.True(refused > 0);
        foreach ((int first, int length) in runs)
            pool.Return(first, length);
        Assert.Equal(0, pool.TryTake(pages));
        Assert.Equal(PagePool.None, pool.TryTake(1));
    }

    private static bool HasGap(bool[] lent, int wanted)
    {
        int run = 0;
        foreach (bool taken in lent)
        {
            run = taken ? 0 : run + 1;
            if (run >= wanted)
                return true;
        }
        return false;
    }
}
