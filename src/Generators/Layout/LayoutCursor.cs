namespace Blkring.Generators.Layout;

/// <summary>What of a type is laid out so far. A union's members all start at 0.</summary>
internal sealed class Room(bool isUnion, int alignment)
{
    public const int BitsPerByte = 8;

    /// <summary>Where the next member may begin.</summary>
    public long EndBit { get; private set; }

    /// <summary>Bytes up to the end of the last, or largest, member.</summary>
    public long Size { get; private set; }

    /// <summary>Of the type: that of its most aligned member, bytes.</summary>
    public int Alignment { get; private set; } = alignment;

    /// <summary>The bytes that are taken, the last one perhaps in part.</summary>
    public long EndByte => (EndBit + BitsPerByte - 1) / BitsPerByte;

    public void Take(long bit, long bits)
    {
        // The limits bound each factor of a size, so this cannot overflow.
        long end = bit + bits;
        EndBit = isUnion ? 0 : end;
        Size = Math.Max(Size, (end + BitsPerByte - 1) / BitsPerByte);
    }

    public void Align(int member) => Alignment = Math.Max(Alignment, member);

    public static long RoundUp(long value, long multiple) => (value + multiple - 1) / multiple * multiple;

    /// <summary>
    /// The bit at which a bit field begins (System V psABI of i386 and x86-64): it shares bytes with what precedes it,
    /// and where it would reach over the end of an integer of its type, it moves to the next one. One without a width
    /// ends the integer that precedes it.
    /// </summary>
    /// <param name="size">Of its type, bytes.</param>
    /// <param name="typeAlignment">Of its type in a struct that is not packed, bytes.</param>
    /// <param name="align">
    /// Its own alignment, bytes; null for its type's, 1 for none: it follows bit on bit, as all do when
    /// <paramref name="isPacked"/>.
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
