using System.Globalization;

namespace Blkring.Settings;

/// <summary>Sizes as people write them: 20G, 512M, 1T, 4096K or plain bytes; powers of 1024.</summary>
internal static class Sizes
{
    private const string Units = "KMGT";

    /// <summary>What to give instead; null for a size.</summary>
    public static string? Complain(string text) =>
        TryParse(text, out _) ? null : "give bytes, as 200M, 1G or 1048576; 0: no limit";

    public static long Parse(string text) =>
        TryParse(text, out long bytes) ? bytes : throw new FormatException($"'{text}' is no size");

    /// <returns>False for anything else, also for more than fits.</returns>
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
