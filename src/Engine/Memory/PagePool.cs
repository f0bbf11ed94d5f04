using System.Numerics;

namespace Blkring.Engine.Memory;

/// <summary>
/// Pages lent in contiguous runs, first fit, with a bitmap of the lent pages. Both are in the owner's
/// <see cref="Arena"/>, so lending allocates nothing.
/// </summary>
/// <remarks>
/// A run that does not fit now will fit when enough pages have been returned. The owner lets requests wait in order, so
/// no request waits for ever.
/// </remarks>
internal readonly unsafe struct PagePool(byte* pages, ulong* lent, int count)
{
    /// <summary>No run of that length is free.</summary>
    public const int None = -1;

    private const int BitsPerWord = 64;

    private readonly byte* _pages = pages;
    private readonly ulong* _lent = lent;

    /// <summary>The number of words of the bitmap.</summary>
    public static int WordsFor(int pages) => (pages + BitsPerWord - 1) / BitsPerWord;

    public int Count => count;

    public byte* At(int page) => _pages + ((nint)page * Arena.PageBytes);

    /// <returns>The run's first page, or <see cref="None"/>.</returns>
    public int TryTake(int length)
    {
        int run = 0;
        for (int page = 0; page < count; )
        {
            ulong lent = _lent[page / BitsPerWord] >> (page % BitsPerWord);
            int free = lent == 0 ? BitsPerWord - (page % BitsPerWord) : BitOperations.TrailingZeroCount(lent);
            free = Math.Min(free, count - page);
            run += free;
            page += free;
            if (run >= length)
            {
                Mark(page - run, length, lent: true);
                return page - run;
            }
            if (lent == 0)
                continue;
            run = 0;
            page += BitOperations.TrailingZeroCount(~(_lent[page / BitsPerWord] >> (page % BitsPerWord)));
        }
        return None;
    }

    public void Return(int first, int length) => Mark(first, length, lent: false);

    private void Mark(int first, int length, bool lent)
    {
        for (int page = first; page < first + length; page++)
        {
            ulong bit = 1UL << (page % BitsPerWord);
            if (lent)
                _lent[page / BitsPerWord] |= bit;
            else
                _lent[page / BitsPerWord] &= ~bit;
        }
    }
}
