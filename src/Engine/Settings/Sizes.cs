using System.Globalization;

namespace Blkring.Engine.Settings;

/// <summary>Sizes as people write them: 20G, 512M, 1T, 4096K or plain bytes, in powers of 1024.</summary>
public static class Sizes
{
    private const string Units = "KMGT";

    /// <returns>False for anything else, and for a size that does not fit.</returns>
    public static bool TryParse(string text, out long bytes)
    {
        int unit = text.Length == 0 ? -1 : Units.IndexOf(char.ToUpperInvariant(text[^1]), StringComparison.Ordinal);
        int shift = 10 * (unit + 1);
        bool right =
            long.TryParse(
                unit < 0 ? text : text[..^1],
                NumberStyles.None,
                CultureInfo.InvariantCulture,
                out long number
            )
            && number <= long.MaxValue >> shift;
        bytes = right ? number << shift : 0;
        return right;
    }
}
