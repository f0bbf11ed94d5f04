using System.Globalization;
using System.Text.Json;

namespace Blkring.Load;

/// <summary>
/// A guest's 99th percentile alone, alone again, and beside another guest, measured in turn, several times. The ratio
/// of the first two (A/A) says how far equal measurements are apart on this machine.
/// </summary>
/// <param name="target">The greatest ratio that is acceptable.</param>
internal sealed class BesideRatio(double target)
{
    private readonly List<double> _alone = [],
        _again = [],
        _beside = [];

    /// <summary>In nanoseconds.</summary>
    public void AddAlone(double first, double again)
    {
        _alone.Add(first);
        _again.Add(again);
    }

    /// <summary>In nanoseconds. After <see cref="AddAlone"/> of the same round.</summary>
    public void AddBeside(double beside) => _beside.Add(beside);

    public double AloneP99Us => Comparison.Median(_alone) / 1e3;
    public double BesideP99Us => Comparison.Median(_beside) / 1e3;
    public double Median => Comparison.Median(_alone.Zip(_beside, (alone, beside) => beside / alone));
    public bool Holds => Median <= target;

    /// <summary>The least and the greatest A/A.</summary>
    public string Spread
    {
        get
        {
            double[] ratios = [.. AloneRatios];
            return string.Create(CultureInfo.InvariantCulture, $"{ratios.Min():F2} to {ratios.Max():F2}");
        }
    }

    private IEnumerable<double> AloneRatios => _alone.Zip(_again, (first, again) => again / first);

    public void WriteTo(Utf8JsonWriter writer)
    {
        writer.WriteNumber("aloneP99Us", AloneP99Us);
        writer.WriteNumber("besideP99Us", BesideP99Us);
        writer.WriteNumber("ratioP99", Median);
        writer.WriteNumber("leastAloneRatio", AloneRatios.Min());
        writer.WriteNumber("mostAloneRatio", AloneRatios.Max());
        writer.WriteNumber("target", target);
    }
}
