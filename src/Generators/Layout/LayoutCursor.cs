namespace Blkring.Generators.Layout;

/// <summary>The state of a type's layout after some members. All members of a union start at 0.</summary>
internal sealed class LayoutCursor(bool isUnion, int alignment)
{
    public const int BitsPerByte = 8;

    /// <summary>The first bit that the next member may use.</summary>
    public long EndBit { get; private set; }

    /// <summary>Bytes up to the end of the last, or largest, member.</summary>
    public long Size { get; private set; }

    /// <summary>The alignment of the type in bytes: the largest of its members.</summary>
    public int Alignment { get; private set; } = alignment;

    /// <summary>The number of bytes in use; the last may be used in part.</summary>
    public long EndByte => (EndBit + BitsPerByte - 1) / BitsPerByte;

    public void Take(long bit, long bits)
    {
        // The limits bound each factor of a size, so the sum cannot overflow.
        long end = bit + bits;
        EndBit = isUnion ? 0 : end;
        Size = Math.Max(Size, (end + BitsPerByte - 1) / BitsPerByte);
    }

    public void Align(int member) => Alignment = Math.Max(Alignment, member);

    public static long RoundUp(long value, long multiple) => (value + multiple - 1) / multiple * multiple;

    /// <summary>
    /// The first bit of a bit field (System V psABI of i386 and x86-64). It shares bytes with the member before it. If
    /// it would cross the end of an integer of its type, it moves to the next such integer. A bit field of width 0 ends
    /// the current integer.
    /// </summary>
    /// <param name="size">The size of its type in bytes.</param>
    /// <param name="typeAlignment">The alignment of its type in bytes, in a struct that is not packed.</param>
    /// <param name="align">
    /// Its own alignment in bytes; null for that of its type, 1 for none. Without alignment it follows the bit before
    /// it, as all bit fields do when <paramref name="isPacked"/>.
    /// </param>
    public long StartOfBits(int width, int size, int typeAlignment, int? align, bool isPacked)
    {
        if (width == 0)
            return RoundUp(EndBit, BitsPerByte * typeAlignment);
        long start = align is > 1 ? RoundUp(EndBit, BitsPerByte * align.Value) : EndBit;
        bool reachesOver = (start % (BitsPerByte * typeAlignment)) + width > BitsPerByte * size;
        return reachesOver && !isPacked && align != 1 ? RoundUp(start, BitsPerByte * typeAlignment) : start;
    }
}
