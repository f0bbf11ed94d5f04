using System.Globalization;

namespace Blkring.Generators.Model;

internal static class CNumber
{
    /// <summary>Decimal (negative allowed) or 0x; null when the text is neither or needs more than 64 bits.</summary>
    public static decimal? Parse(string text)
    {
        if (text.StartsWith("0x", StringComparison.OrdinalIgnoreCase))
            return ulong.TryParse(
                text.Substring(2),
                NumberStyles.AllowHexSpecifier,
                CultureInfo.InvariantCulture,
                out ulong hex
            )
                ? hex
                : null;
        if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long signed))
            return signed;
        return ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out ulong unsigned)
            ? unsigned
            : null;
    }
}
