using System.Numerics;
using System.Runtime.InteropServices;

namespace Blkring.Engine;

/// <summary>
/// Pages of one queue's guest that stay mapped, found by grant reference: an open-addressing hash table over a fixed set of entries, with
/// those nobody uses in the order of their last use. All of it lies in the queue's arena; nothing is allocated.
/// </summary>
/// <remarks>
/// It keeps the books and maps nothing itself: whoever owns it maps <see cref="Fresh"/> and unmaps <see cref="Evicted"/>, in that order
/// reversed, so that there are never more pages mapped than entries. An entry in use is pinned once by each segment that uses it.
/// </remarks>
internal unsafe struct PersistentGrants
{
    private const int None = -1;

    [StructLayout(LayoutKind.Sequential)]
    public struct Entry
    {
        public uint Reference;
        /// <summary>Segments in flight that use it; the others are in the list of unused ones.</summary>
        public int Pins;
        /// <summary>Null until it is mapped, and when it could not be.</summary>
        public byte* Address;
        /// <summary>Stopwatch ticks at which the last pin went.</summary>
        public long UnusedSince;
        /// <summary>Neighbours in the list of unused entries; <see cref="Older"/> also links the free ones.</summary>
        public int Newer, Older;
        /// <summary>Mapped read-only: it is not kept beyond its last pin.</summary>
        public bool IsReadOnly;
    }

    private readonly Entry* _entries;
    // Entry numbers, None where empty. Twice as many places as entries, so that a search is short.
    private readonly int* _places;
    private readonly int* _fresh;
    private readonly Entry* _evicted;
    private readonly int _capacity, _placeMask, _placeShift;
    // Chosen by lot: a guest must not be able to choose references that all land in one place.
    private readonly uint _multiplier = (uint)Random.Shared.Next() | 1;
    private int _free, _newest, _oldest, _pinned;

    public PersistentGrants(Arena arena, int capacity)
    {
        _capacity = capacity;
        _placeMask = PlacesFor(capacity) - 1;
        _placeShift = 32 - BitOperations.Log2((uint)PlacesFor(capacity));
        _entries = arena.Take<Entry>(capacity);
        _evicted = arena.Take<Entry>(capacity);
        _places = arena.Take<int>(PlacesFor(capacity));
        _fresh = arena.Take<int>(capacity);
        new Span<int>(_places, PlacesFor(capacity)).Fill(None);
        (_free, _newest, _oldest) = (0, None, None);
        for (int i = 0; i < capacity; i++) _entries[i].Older = i + 1 < capacity ? i + 1 : None;
    }

    /// <summary>What the constructor takes of an arena, at most.</summary>
    public static nuint SizeOf(int capacity) => capacity == 0 ? 0 :
        (2 * Arena.SizeOf<Entry>(capacity)) + Arena.SizeOf<int>(PlacesFor(capacity)) + Arena.SizeOf<int>(capacity);

    private static int PlacesFor(int capacity) => (int)BitOperations.RoundUpToPowerOf2((uint)capacity * 2);

    /// <summary>Entries that hold a mapping or are to get one.</summary>
    public int Count { get; private set; }
    /// <summary>Entries to be mapped before anyone looks at their address.</summary>
    public readonly ReadOnlySpan<int> Fresh => new(_fresh, FreshCount);
    /// <summary>Copies of entries whose pages are to be unmapped before the fresh ones are mapped.</summary>
    public readonly Entry* Evicted => _evicted;
    public int FreshCount { get; private set; }
    public int EvictedCount { get; private set; }

    public readonly Entry* At(int entry) => _entries + entry;

    /// <summary>Whether that many more pins are sure to find an entry each, by evicting unused ones where necessary.</summary>
    public readonly bool HasRoom(int pins) => _capacity - _pinned >= pins;

    /// <summary>Pins the entry of a reference, a fresh one if there is none; there must be room. Its number.</summary>
    public int Pin(uint reference)
    {
        int entry = Find(reference);
        if (entry == None) return Insert(reference);
        if (_entries[entry].Pins++ == 0)
        {
            Unlink(entry);
            _pinned++;
        }
        return entry;
    }

    /// <summary>A segment is done with it. With its last pin one that could not be mapped is forgotten, and one that is read-only evicted.</summary>
    public void Unpin(int entry, long now)
    {
        Entry* e = _entries + entry;
        if (--e->Pins > 0) return;
        _pinned--;
        if (e->Address == null || e->IsReadOnly)
        {
            if (e->Address != null) _evicted[EvictedCount++] = *e;
            Forget(entry);
            return;
        }
        e->UnusedSince = now;
        (e->Newer, e->Older) = (None, _newest);
        if (_newest == None) _oldest = entry;
        else _entries[_newest].Newer = entry;
        _newest = entry;
    }

    /// <summary>Moves entries that nobody used since <paramref name="before"/> to <see cref="Evicted"/>.</summary>
    public void EvictUnused(long before)
    {
        while (_oldest != None && _entries[_oldest].UnusedSince <= before) Evict();
    }

    /// <summary>The evicted are unmapped and the fresh mapped.</summary>
    public void Settle() => (FreshCount, EvictedCount) = (0, 0);

    private int Insert(uint reference)
    {
        if (_free == None) Evict();
        int entry = _free;
        _free = _entries[entry].Older;
        _entries[entry] = new Entry { Reference = reference, Pins = 1, Newer = None, Older = None };
        int place = HomeOf(reference);
        while (_places[place] != None) place = (place + 1) & _placeMask;
        _places[place] = entry;
        _pinned++;
        Count++;
        _fresh[FreshCount++] = entry;
        return entry;
    }

    private void Evict()
    {
        int entry = _oldest;
        Unlink(entry);
        _evicted[EvictedCount++] = _entries[entry];
        Forget(entry);
    }

    private readonly int Find(uint reference)
    {
        for (int place = HomeOf(reference); _places[place] is var entry and not None; place = (place + 1) & _placeMask)
            if (_entries[entry].Reference == reference) return entry;
        return None;
    }

    /// <summary>Takes the entry out of the table. Those behind it that it kept from their home move up, so that no search ends too early.</summary>
    private void Forget(int entry)
    {
        int hole = HomeOf(_entries[entry].Reference);
        while (_places[hole] != entry) hole = (hole + 1) & _placeMask;
        for (int place = (hole + 1) & _placeMask; _places[place] != None; place = (place + 1) & _placeMask)
        {
            int home = HomeOf(_entries[_places[place]].Reference);
            if (((place - home) & _placeMask) < ((place - hole) & _placeMask)) continue;
            _places[hole] = _places[place];
            hole = place;
        }
        _places[hole] = None;
        _entries[entry].Older = _free;
        _free = entry;
        Count--;
    }

    private void Unlink(int entry)
    {
        (int newer, int older) = (_entries[entry].Newer, _entries[entry].Older);
        if (newer == None) _newest = older;
        else _entries[newer].Older = older;
        if (older == None) _oldest = newer;
        else _entries[older].Newer = newer;
    }

    private readonly int HomeOf(uint reference) => (int)((reference * _multiplier) >> _placeShift);
}
