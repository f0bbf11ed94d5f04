using Blkring.Engine.Telemetry;

namespace Blkring.Engine.Tests.Telemetry;

/// <summary>B21: quantiles that can be trusted to three percent.</summary>
public sealed class LatencyHistogramTests
{
    [Theory]
    [InlineData(0.5)]
    [InlineData(0.9)]
    [InlineData(0.99)]
    [InlineData(0.999)]
    [InlineData(1.0)]
    [Proves("B21")]
    public void A_quantile_is_that_of_the_sorted_values_to_three_percent(double quantile)
    {
        foreach (double spread in (double[])[1, 5, 10, 20, 27])
        {
            Random random = new(7);
            LatencyHistogram histogram = new();
            long[] values = new long[20_000];
            for (int i = 0; i < values.Length; i++)
                histogram.Record(values[i] = (long)Math.Exp(random.NextDouble() * spread));
            Array.Sort(values);
            long exact = values[(int)Math.Ceiling(quantile * values.Length) - 1];
            Assert.InRange(histogram.ValueAt(quantile), exact, exact + (exact / 32) + 1);
        }
    }

    [Fact]
    public void Every_power_of_two_and_its_neighbours_are_kept_to_three_percent()
    {
        for (int bit = 0; bit < 40; bit++)
        {
            foreach (long value in (long[])[(1L << bit) - 1, 1L << bit, (1L << bit) + 1])
            {
                LatencyHistogram histogram = new();
                histogram.Record(value);
                // Beside it a large one, so that the bound is the bucket's and not the maximum's.
                histogram.Record(1L << 39);
                Assert.InRange(histogram.ValueAt(0.5), value, value + (value / 32));
            }
        }
    }

    [Fact]
    public void Small_values_are_exact()
    {
        LatencyHistogram histogram = new();
        for (int value = 0; value < 32; value++)
            histogram.Record(value);
        for (int value = 0; value < 32; value++)
            Assert.Equal(value, histogram.ValueAt((value + 1) / 32.0));
    }

    [Fact]
    public void Values_out_of_range_are_counted_at_its_ends()
    {
        LatencyHistogram histogram = new();
        histogram.Record(-5);
        histogram.Record(long.MaxValue / 2);
        histogram.Record(1L << 40);
        Assert.Equal((3, long.MaxValue / 2), (histogram.Count, histogram.Max));
        Assert.Equal(0, histogram.ValueAt(0.1));
        Assert.Equal((1L << 40) - 1, histogram.ValueAt(1));
    }

    [Fact]
    public void Sum_mean_adding_and_clearing()
    {
        LatencyHistogram one = new(),
            other = new();
        Assert.Equal((0, 0d, 0L), (one.Count, one.Mean, one.ValueAt(0.5)));
        for (int i = 1; i <= 10; i++)
            one.Record(i);
        for (int i = 11; i <= 20; i++)
            other.Record(i);
        one.Add(other);
        Assert.Equal((20L, 210L, 20L, 10.5), (one.Count, one.Sum, one.Max, one.Mean));
        Assert.Equal(10, one.ValueAt(0.5));
        Assert.Equal(10, other.Count);
        one.Clear();
        Assert.Equal((0L, 0L, 0L, 0L), (one.Count, one.Sum, one.Max, one.ValueAt(1)));
    }
}
