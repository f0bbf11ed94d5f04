using System.Globalization;
using Blkring.Generators.Layout;

namespace Blkring.Generators.Emit;

/// <summary>
/// C# that reads and writes a bit field byte by byte, lowest bits first. A bit field may begin at any bit, and in a
/// packed struct it may touch nine bytes, so no C# integer covers it.
/// </summary>
internal static class BitCode
{
    private const int BitsOfInt = 32;
    private const int BitsOfLong = 64;

    /// <summary>The expression of the field's value, in the field's own type.</summary>
    /// <param name="byteAt">Gives the expression of a byte of the field, by its index.</param>
    public static string Get(FieldLayout field, Func<int, string> byteAt)
    {
        string bits = string.Join(
            " | ",
            Pieces(field)
                .Select(p =>
                    Shifted(Masked(Shifted($"({Unsigned(field)}){byteAt(p.Byte)}", ">>", p.Shift), p), "<<", p.Value)
                )
        );
        if (!field.IsSigned)
            return field.ElementName == Unsigned(field) ? bits : $"({field.ElementName})({bits})";
        // Sign extension: shift the highest bit to the top and back.
        int unused = (IsLong(field) ? BitsOfLong : BitsOfInt) - field.BitWidth;
        string wide = IsLong(field) ? "long" : "int";
        return $"unchecked(({field.ElementName})((({wide})({bits}) << {unused}) >> {unused}))";
    }

    /// <summary>
    /// Statements that store the lowest bits of <paramref name="value"/> and keep the other bits of the bytes.
    /// </summary>
    public static IEnumerable<string> Set(FieldLayout field, Func<int, string> byteAt, string value)
    {
        foreach (Piece piece in Pieces(field))
        {
            int mask = ((1 << piece.Width) - 1) << piece.Shift;
            string part = Shifted(Shifted($"({Unsigned(field)}){value}", ">>", piece.Value), "<<", piece.Shift);
            string kept = mask == byte.MaxValue ? "" : $"({byteAt(piece.Byte)} & {Hex(byte.MaxValue & ~mask)}) | ";
            yield return $"{byteAt(piece.Byte)} = unchecked((byte)({kept}({part} & {Hex(mask)})));";
        }
    }

    /// <summary>
    /// The part of a field in one byte: <paramref name="Width"/> bits from bit <paramref name="Shift"/> of the byte,
    /// which are the bits from <paramref name="Value"/> of the value.
    /// </summary>
    private readonly record struct Piece(int Byte, int Shift, int Width, int Value);

    private static IEnumerable<Piece> Pieces(FieldLayout field)
    {
        int shift = field.BitOffset;
        int value = 0;
        for (int at = 0; value < field.BitWidth; at++)
        {
            int width = Math.Min(LayoutCursor.BitsPerByte - shift, field.BitWidth - value);
            yield return new Piece(at, shift, width, value);
            value += width;
            shift = 0;
        }
    }

    private static string Masked(string bits, Piece piece) =>
        piece.Shift + piece.Width == LayoutCursor.BitsPerByte ? bits : $"({bits} & {Hex((1 << piece.Width) - 1)})";

    private static string Shifted(string value, string direction, int bits) =>
        bits == 0 ? value : $"({value} {direction} {bits})";

    private static bool IsLong(FieldLayout field) => field.ElementSize == sizeof(ulong);

    private static string Unsigned(FieldLayout field) => IsLong(field) ? "ulong" : "uint";

    // Unsigned, because C# would widen both operands of an OR with a signed one.
    private static string Hex(int mask) => "0x" + mask.ToString("x2", CultureInfo.InvariantCulture) + "u";
}
