using Blkring.Engine.Vbds;

namespace Blkring.Engine.Tests.Vbds;

/// <summary>The mappings that devices may have, by what the kernel says of its limit.</summary>
public sealed class MappingBudgetTests
{
    [Theory]
    [InlineData("1000\n", 750)]
    [InlineData("262144", 196_608)]
    // The kernel's default, where it does not say.
    [InlineData("no number", 49_146)]
    [InlineData(null, 49_146)]
    public void A_quarter_of_the_kernels_limit_is_left_for_everything_else(string? limit, int ranges)
    {
        List<string> asked = [];
        MappingBudget budget = MappingBudget.Of(path =>
        {
            asked.Add(path);
            return limit ?? throw new FileNotFoundException();
        });
        Assert.Equal(["/proc/sys/vm/max_map_count"], asked);
        Assert.False(budget.TryTake(ranges + 1));
        Assert.True(budget.TryTake(ranges));
        Assert.False(budget.TryTake(1));
    }
}
