using System.Runtime.Intrinsics;
using Blkring.Engine.Disks;

namespace Blkring.Loopback;

/// <summary>
/// What every sector of a disk should hold: for each sector, the frontend remembers a number from which it can make the
/// 512 bytes and compare them. The content depends on the sector's number, on how often it was written, and on the seed
/// of the run, so that a lost, stale, misplaced or mixed-up sector is recognised.
/// </summary>
public sealed unsafe class SectorModel(long sectors, ulong seed)
{
    // The low bits of a sector's word are its state, the others count the writes. A discard keeps the count: otherwise
    // the content from before it would be taken for the content written after it.
    private const uint Untouched = 0;
    private const uint Zeroed = 1;
    private const uint Unknown = 2;
    private const uint Written = 3;
    private const uint StateMask = 3;

    private readonly uint[] _sectors = new uint[sectors];

    public long Sectors => sectors;

    /// <summary>The number of the first sector of the model. All sector numbers are those of the disk.</summary>
    public long FirstSector { get; init; }

    /// <summary>Writes what an untouched sector holds; null means zeros.</summary>
    public Func<long, byte[], bool>? Baseline { get; init; }

    private readonly byte[] _baseline = new byte[Disk.SectorBytes];

    /// <summary>Makes the new content of one sector, for a write, and remembers it.</summary>
    public void Write(long sector, byte* destination)
    {
        ref uint word = ref WordOf(sector);
        uint version = word = ((word | StateMask) + 1) | Written;
        Fill(sector, version, destination);
    }

    /// <summary>Notes a discard.</summary>
    /// <param name="zeroes">Whether the sectors hold zeros afterwards; otherwise their content is unknown.</param>
    public void Discard(long start, long count, bool zeroes) => SetState(start, count, zeroes ? Zeroed : Unknown);

    /// <summary>Notes that a write or discard failed: the content of the sectors is unknown.</summary>
    public void Forget(long start, long count) => SetState(start, count, Unknown);

    public bool IsTouched(long sector) => WordOf(sector) != Untouched;

    private ref uint WordOf(long sector) => ref _sectors[sector - FirstSector];

    private void SetState(long start, long count, uint state)
    {
        foreach (ref uint sector in _sectors.AsSpan((int)(start - FirstSector), (int)count))
            sector = (sector & ~StateMask) | state;
    }

    /// <summary>Whether the sector should hold these bytes.</summary>
    public bool IsRight(long sector, byte* content)
    {
        uint word = WordOf(sector);
        switch (word & StateMask)
        {
            case Unknown:
                return true;
            case Untouched when Baseline is { } baseline:
                return baseline(sector, _baseline)
                    && new ReadOnlySpan<byte>(content, Disk.SectorBytes).SequenceEqual(_baseline);
            case Untouched or Zeroed:
                return !new ReadOnlySpan<byte>(content, Disk.SectorBytes).ContainsAnyExcept((byte)0);
            default:
                return Matches(sector, word, content);
        }
    }

    private void Fill(long sector, uint version, byte* destination)
    {
        Vector256<ulong> value = FirstOf(sector, version);
        for (int offset = 0; offset < Disk.SectorBytes; offset += Vector256<byte>.Count)
        {
            value.Store((ulong*)(destination + offset));
            value += s_step;
        }
    }

    private bool Matches(long sector, uint version, byte* content)
    {
        Vector256<ulong> value = FirstOf(sector, version);
        Vector256<ulong> difference = Vector256<ulong>.Zero;
        for (int offset = 0; offset < Disk.SectorBytes; offset += Vector256<byte>.Count)
        {
            difference |= value ^ Vector256.Load((ulong*)(content + offset));
            value += s_step;
        }
        return difference == Vector256<ulong>.Zero;
    }

    // Odd, with bits in every byte: no two words of a sector are equal.
    private static readonly Vector256<ulong> s_step = Vector256.Create(0x78DDE6E5FD29F054UL);
    private static readonly Vector256<ulong> s_lane = Vector256.Create(
        0UL,
        0x9E3779B97F4A7C15,
        0x3C6EF372FE94F82A,
        0xDAA66D2C7DDF743F
    );

    private Vector256<ulong> FirstOf(long sector, uint version) =>
        Vector256.Create(Mix(Mix(seed ^ (ulong)sector) ^ version)) + s_lane;

    // The finaliser of splitmix64.
    private static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
        return value ^ (value >> 31);
    }
}
