using System.Runtime.InteropServices;
using Blkring.Engine.Disks;

namespace Blkring.Engine.Tests.Kit;

/// <summary>
/// What each sector of a disk may hold when requests overlap and end in any order: every content that was written or
/// discarded, with the time at which its write began and the time at which it ended. A sector's content is one word,
/// repeated.
/// </summary>
/// <remarks>
/// A reader cannot see a content if another write began after that one had ended, succeeded, and ended before the
/// reader began. All other contents are possible. Those of failed requests are too, because a failed write may have
/// reached the disk in part.
/// </remarks>
internal sealed class DiskHistory
{
    public const int Never = int.MaxValue;
    private const ulong Zeros = 0;

    private readonly List<Entry>[] _sectors;

    public DiskHistory(Span<byte> content)
    {
        _sectors = new List<Entry>[content.Length / Disk.SectorBytes];
        for (int sector = 0; sector < _sectors.Length; sector++)
        {
            ulong word = 0xD15C_0000_0000_0000 | (uint)sector;
            Fill(content.Slice(sector * Disk.SectorBytes, Disk.SectorBytes), word);
            _sectors[sector] = [new Entry(word, begins: -1) { Ends = -1 }];
        }
    }

    internal sealed class Entry(ulong word, int begins)
    {
        public ulong Word => word;
        public int Begins => begins;
        public int Ends { get; set; } = Never;

        /// <summary>What ended before this write began cannot be read after it has ended.</summary>
        public bool IsCertain { get; set; }
    }

    public Entry Write(long sector, ulong word, int now)
    {
        Entry entry = new(word, now);
        _sectors[sector].Add(entry);
        return entry;
    }

    public Entry Discard(long sector, int now) => Write(sector, Zeros, now);

    public bool IsPossible(long sector, ulong word, int readBegins, int readEnds)
    {
        foreach (Entry entry in _sectors[sector])
            if (entry.Word == word && entry.Begins <= readEnds && !IsOutdated(sector, entry, readBegins))
                return true;
        return false;
    }

    /// <summary>Forgets what can no longer be read. Only when nothing is in flight.</summary>
    public void Settle(int now)
    {
        for (int sector = 0; sector < _sectors.Length; sector++)
        {
            if (_sectors[sector].Count == 1)
                continue;
            int of = sector;
            _sectors[sector] = _sectors[sector].FindAll(entry => !IsOutdated(of, entry, now));
        }
    }

    private bool IsOutdated(long sector, Entry entry, int readBegins)
    {
        foreach (Entry other in _sectors[sector])
            if (other.IsCertain && other.Ends < readBegins && other.Begins > entry.Ends)
                return true;
        return false;
    }

    public static void Fill(Span<byte> sector, ulong word) => MemoryMarshal.Cast<byte, ulong>(sector).Fill(word);

    /// <summary>The word that a sector is made of; null when it is not made of one.</summary>
    public static ulong? WordOf(ReadOnlySpan<byte> sector)
    {
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(sector);
        return words.ContainsAnyExcept(words[0]) ? null : words[0];
    }
}
