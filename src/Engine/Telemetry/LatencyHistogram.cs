using System.Numerics;
using System.Runtime.CompilerServices;

namespace Blkring.Engine.Telemetry;

/// <summary>
/// Counts values in log-linear buckets: 32 per power of two, so a quantile is exact to about 3 percent, from 1 to 2^40.
/// One writer; a reader on another thread sees counts that are each correct but were not read at one instant.
/// </summary>
/// <remarks>
/// A table of fixed size, so that recording allocates nothing and a reader needs no lock. HdrHistogram can do much more
/// than is needed here.
/// </remarks>
public sealed class LatencyHistogram
{
    private const int SubBucketBits = 5;
    private const int SubBuckets = 1 << SubBucketBits;
    private const int MaxBits = 40;
    private const int BucketCount = (MaxBits - SubBucketBits + 1) * SubBuckets;

    private readonly long[] _counts = new long[BucketCount];

    public long Count { get; private set; }
    public long Sum { get; private set; }
    public long Max { get; private set; }

    public double Mean => Count == 0 ? 0 : (double)Sum / Count;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Record(long value, long count = 1)
    {
        if (value < 0)
            value = 0;
        _counts[BucketOf(value)] += count;
        Count += count;
        Sum += value * count;
        if (value > Max)
            Max = value;
    }

    /// <summary>
    /// The smallest value that at least <paramref name="quantile"/> (0 to 1) of the records do not exceed, to the
    /// bucket's precision; 0 without records.
    /// </summary>
    public long ValueAt(double quantile)
    {
        long wanted = Math.Max(1, (long)Math.Ceiling(quantile * Count));
        long seen = 0;
        for (int bucket = 0; bucket < _counts.Length; bucket++)
        {
            seen += _counts[bucket];
            if (seen >= wanted)
                return Math.Min(UpperBoundOf(bucket), Max);
        }
        return Max;
    }

    public void Add(LatencyHistogram other)
    {
        for (int bucket = 0; bucket < _counts.Length; bucket++)
            _counts[bucket] += other._counts[bucket];
        Count += other.Count;
        Sum += other.Sum;
        Max = Math.Max(Max, other.Max);
    }

    public void Clear()
    {
        Array.Clear(_counts);
        Count = Sum = Max = 0;
    }

    // Each value below 32 has its own bucket; above, the five bits after the leading one select it.
    private static int BucketOf(long value)
    {
        if (value < SubBuckets)
            return (int)value;
        int exponent = Math.Min(BitOperations.Log2((ulong)value), MaxBits - 1);
        long sub = value >= 1L << MaxBits ? SubBuckets - 1 : (value >> (exponent - SubBucketBits)) & (SubBuckets - 1);
        return ((exponent - SubBucketBits + 1) << SubBucketBits) + (int)sub;
    }

    private static long UpperBoundOf(int bucket)
    {
        if (bucket < SubBuckets)
            return bucket;
        int exponent = (bucket >> SubBucketBits) + SubBucketBits - 1;
        long sub = bucket & (SubBuckets - 1);
        return ((SubBuckets + sub + 1) << (exponent - SubBucketBits)) - 1;
    }
}
