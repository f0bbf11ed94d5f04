using System.Numerics;
using System.Runtime.InteropServices;
using Blkring.Abi;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Memory;

namespace Blkring.Engine.Queues;

/// <summary>
/// Pages of one queue's guest that stay mapped, found by grant reference: an open-addressing hash table over a fixed
/// set of entries. All of it lies in the queue's arena; nothing is allocated.
/// </summary>
/// <remarks>
/// What one call mapped, gntdev unmaps only whole: a <see cref="Range"/>. Pages that are seen first in the same pass
/// share one, because each costs a call to map, another to unmap, and one of the ranges that the kernel allows a
/// process. So a range is kept as long as one of its pages is in use; unused ranges are in the order of their last use.
/// This is bookkeeping only: the owner unmaps <see cref="Evicted"/>, then maps what is fresh, so that there are never
/// more pages mapped than entries, and never more ranges than it was made for. An entry in use is pinned once by each
/// segment that uses it.
/// </remarks>
internal unsafe struct PersistentGrants
{
    /// <summary>
    /// The most pages of a range: few enough that little is evicted with the page that has to go, many enough to save
    /// calls.
    /// </summary>
    public const int MaxRangePages = 32;

    private const int None = -1;

    [StructLayout(LayoutKind.Sequential)]
    public struct Entry
    {
        public uint Reference;

        /// <summary>Segments in flight that use it.</summary>
        public int Pins;

        /// <summary>Null until it is mapped, and when it could not be.</summary>
        public byte* Address;

        /// <summary>None until it is mapped, and when it could not be.</summary>
        public int Range;

        /// <summary>The next page of the range; also links the free entries.</summary>
        public int Next;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct Range
    {
        public byte* Address;

        /// <summary>Stopwatch ticks at which the last pin went.</summary>
        public long UnusedSince;

        /// <summary>Its entries in the order of their addresses, linked by <see cref="Entry.Next"/>.</summary>
        public int First,
            Pages;

        /// <summary>Entries of it that are pinned; without any it is in the list of unused ones.</summary>
        public int Pinned;

        /// <summary>Neighbours in the list of unused ranges; <see cref="Older"/> also links the free ones.</summary>
        public int Newer,
            Older;

        /// <summary>Mapped read-only: it is not kept beyond its last pin.</summary>
        public bool IsReadOnly;
    }

    private readonly Entry* _entries;
    private readonly Range* _ranges;

    // Entry numbers, None where empty. Twice as many places as entries, so that a search is short.
    private readonly int* _places;
    private readonly int* _fresh;
    private readonly uint* _freshReferences,
        _evictedReferences;
    private readonly GrantMapping* _evicted;
    private readonly int _capacity,
        _rangeCapacity,
        _placeMask,
        _placeShift;

    // Random: a guest must not be able to choose references that all hash to one place.
    private readonly uint _multiplier = (uint)Random.Shared.Next() | 1;
    private int _freeEntry,
        _freeRange,
        _freeRanges,
        _newest,
        _oldest,
        _evictedPages;

    /// <summary>Entries, and ranges, that cannot be evicted now.</summary>
    private int _pinnedEntries,
        _pinnedRanges;

    public PersistentGrants(Arena arena, int capacity, int ranges)
    {
        (_capacity, _rangeCapacity) = (capacity, ranges);
        _placeMask = PlacesFor(capacity) - 1;
        _placeShift = 32 - BitOperations.Log2((uint)PlacesFor(capacity));
        _entries = arena.Take<Entry>(capacity);
        _ranges = arena.Take<Range>(ranges);
        _evicted = arena.Take<GrantMapping>(ranges);
        _places = arena.Take<int>(PlacesFor(capacity));
        _fresh = arena.Take<int>(capacity);
        _freshReferences = arena.Take<uint>(capacity);
        _evictedReferences = arena.Take<uint>(capacity);
        if (arena.IsMeasuring)
            return;
        new Span<int>(_places, PlacesFor(capacity)).Fill(None);
        (_freeEntry, _freeRange, _freeRanges, _newest, _oldest) = (0, 0, ranges, None, None);
        for (int i = 0; i < capacity; i++)
            _entries[i].Next = i + 1 < capacity ? i + 1 : None;
        for (int i = 0; i < ranges; i++)
            _ranges[i].Older = i + 1 < ranges ? i + 1 : None;
    }

    private static int PlacesFor(int capacity) => (int)BitOperations.RoundUpToPowerOf2((uint)capacity * 2);

    /// <summary>Entries that hold a mapping or are to get one.</summary>
    public int Count { get; private set; }

    /// <summary>Entries to be mapped before anyone looks at their address, and their references.</summary>
    public int FreshCount { get; private set; }
    public readonly uint* FreshReferences => _freshReferences;

    /// <summary>
    /// Ranges to be unmapped before the fresh pages are mapped: their references, pages and addresses.
    /// </summary>
    public readonly GrantMapping* Evicted => _evicted;
    public int EvictedCount { get; private set; }

    public readonly Entry* At(int entry) => _entries + entry;

    public readonly bool IsReadOnly(int entry) => IsInRange(entry) && _ranges[_entries[entry].Range].IsReadOnly;

    public readonly bool IsFreshMapped(int fresh) => IsInRange(_fresh[fresh]);

    /// <summary>
    /// Pins the entry of each segment's reference, a fresh one where there is none, evicting unused ranges where
    /// necessary. False, and nothing is pinned, when there is no room for the fresh ones.
    /// </summary>
    /// <param name="entries">Set to their numbers.</param>
    public bool TryPin(Blkif.RequestSegment* segments, int count, uint* entries)
    {
        // Those that are there first: none of them may be evicted for one that is not.
        int missing = PinPresent(segments, count, entries, alsoUnused: true);
        if (missing == 0)
            return true;
        if (!HasRoom(missing))
        {
            UnpinPresent(count, entries);
            // The other pages of their ranges may be what is in the way: then those ranges go, and their pages are
            // mapped anew.
            missing = PinPresent(segments, count, entries, alsoUnused: false);
            if (!HasRoom(missing))
            {
                UnpinPresent(count, entries);
                return false;
            }
            EvictAbsent(segments, count, entries);
        }
        for (int i = 0; i < count; i++)
            if ((int)entries[i] == None)
                entries[i] = (uint)PinOrInsert(segments[i].Gref);
        return true;
    }

    /// <summary>
    /// A segment is done with the entry. At its last pin an entry that could not be mapped is forgotten. At the last
    /// pin of a range, a read-only range is evicted, and any other becomes unused.
    /// </summary>
    public void Unpin(int entry, long now)
    {
        Entry* e = _entries + entry;
        if (--e->Pins > 0)
            return;
        if (!IsInRange(entry))
        {
            _pinnedEntries--;
            Forget(entry);
            return;
        }
        Range* range = _ranges + e->Range;
        if (--range->Pinned > 0)
            return;
        _pinnedEntries -= range->Pages;
        _pinnedRanges--;
        if (range->IsReadOnly)
        {
            Evict(e->Range);
            return;
        }
        range->UnusedSince = now;
        Link(e->Range);
    }

    /// <summary>
    /// The <paramref name="pages"/> fresh pages from <paramref name="first"/> on were mapped as one range.
    /// </summary>
    public void SetMapped(int first, int pages, byte* address, bool isReadOnly)
    {
        int number = _freeRange;
        Range* range = _ranges + number;
        _freeRange = range->Older;
        _freeRanges--;
        _pinnedRanges++;
        *range = new Range
        {
            Address = address,
            First = _fresh[first],
            Pages = pages,
            Pinned = pages,
            IsReadOnly = isReadOnly,
        };
        for (int i = 0; i < pages; i++)
        {
            Entry* entry = _entries + _fresh[first + i];
            entry->Range = number;
            entry->Address = address + ((nint)i * Arena.PageBytes);
            entry->Next = i + 1 < pages ? _fresh[first + i + 1] : None;
        }
    }

    /// <summary>
    /// Moves ranges that no request has used since <paramref name="before"/> to <see cref="Evicted"/>, the oldest
    /// first.
    /// </summary>
    /// <param name="max">The most ranges.</param>
    public void EvictUnused(long before, int max = int.MaxValue)
    {
        for (int count = 0; count < max && _oldest != None && _ranges[_oldest].UnusedSince <= before; count++)
            EvictOldest();
    }

    /// <summary>The evicted are unmapped, and the fresh mapped where they could be.</summary>
    public void Settle() => (FreshCount, EvictedCount, _evictedPages) = (0, 0, 0);

    /// <summary>Each fresh page may come to need a range of its own.</summary>
    private readonly bool HasRoom(int pages) =>
        _capacity - _pinnedEntries >= pages && _rangeCapacity - _pinnedRanges - FreshCount >= pages;

    private void Pin(int entry)
    {
        Entry* e = _entries + entry;
        // Fresh, or not mapped: it is pinned already.
        if (e->Pins++ > 0)
            return;
        Range* range = _ranges + e->Range;
        if (range->Pinned++ > 0)
            return;
        Unlink(e->Range);
        _pinnedEntries += range->Pages;
        _pinnedRanges++;
    }

    /// <returns>
    /// How many segments' entries are not there, or in a range that nobody uses where those are not wanted: None in
    /// <paramref name="entries"/>.
    /// </returns>
    private int PinPresent(Blkif.RequestSegment* segments, int count, uint* entries, bool alsoUnused)
    {
        int missing = 0;
        for (int i = 0; i < count; i++)
        {
            int entry = Find(segments[i].Gref);
            if (entry != None && (alsoUnused || IsInUse(entry)))
                Pin(entry);
            else
                (entry, missing) = (None, missing + 1);
            entries[i] = (uint)entry;
        }
        return missing;
    }

    private void UnpinPresent(int count, uint* entries)
    {
        for (int i = 0; i < count; i++)
            if ((int)entries[i] is var entry and not None)
                Unpin(entry, IsInRange(entry) ? _ranges[_entries[entry].Range].UnusedSince : 0);
    }

    /// <summary>Of the segments that were not pinned, those that are there lie in ranges that nobody uses.</summary>
    private void EvictAbsent(Blkif.RequestSegment* segments, int count, uint* entries)
    {
        for (int i = 0; i < count; i++)
        {
            if ((int)entries[i] != None || Find(segments[i].Gref) is not (var entry and not None))
                continue;
            int range = _entries[entry].Range;
            Unlink(range);
            Evict(range);
        }
    }

    /// <summary>Fresh, or not to be mapped, it has none.</summary>
    private readonly bool IsInRange(int entry) => _entries[entry].Range != None;

    private readonly bool IsInUse(int entry) => !IsInRange(entry) || _ranges[_entries[entry].Range].Pinned > 0;

    /// <summary>The same reference may come twice in a request.</summary>
    private int PinOrInsert(uint reference)
    {
        int entry = Find(reference);
        if (entry == None)
            return Insert(reference);
        Pin(entry);
        return entry;
    }

    private int Insert(uint reference)
    {
        while (_freeEntry == None || _freeRanges <= FreshCount)
            EvictOldest();
        int entry = _freeEntry;
        _freeEntry = _entries[entry].Next;
        _entries[entry] = new Entry
        {
            Reference = reference,
            Pins = 1,
            Range = None,
        };
        int place = HomeOf(reference);
        while (_places[place] != None)
            place = (place + 1) & _placeMask;
        _places[place] = entry;
        _pinnedEntries++;
        Count++;
        _freshReferences[FreshCount] = reference;
        _fresh[FreshCount++] = entry;
        return entry;
    }

    private void EvictOldest()
    {
        int range = _oldest;
        Unlink(range);
        Evict(range);
    }

    private void Evict(int number)
    {
        Range* range = _ranges + number;
        uint* references = _evictedReferences + _evictedPages;
        _evictedPages += range->Pages;
        _evicted[EvictedCount++] = new GrantMapping
        {
            References = references,
            Count = range->Pages,
            Address = range->Address,
            Writable = !range->IsReadOnly,
        };
        for (int entry = range->First; entry != None; )
        {
            int next = _entries[entry].Next;
            *references++ = _entries[entry].Reference;
            Forget(entry);
            entry = next;
        }
        range->Older = _freeRange;
        _freeRange = number;
        _freeRanges++;
    }

    private readonly int Find(uint reference)
    {
        for (int place = HomeOf(reference); _places[place] is var entry and not None; place = (place + 1) & _placeMask)
            if (_entries[entry].Reference == reference)
                return entry;
        return None;
    }

    /// <summary>
    /// Takes the entry out of the table. Those behind it that it kept from their home move up, so that no search ends
    /// too early.
    /// </summary>
    private void Forget(int entry)
    {
        int hole = HomeOf(_entries[entry].Reference);
        while (_places[hole] != entry)
            hole = (hole + 1) & _placeMask;
        for (int place = (hole + 1) & _placeMask; _places[place] != None; place = (place + 1) & _placeMask)
        {
            int home = HomeOf(_entries[_places[place]].Reference);
            if (((place - home) & _placeMask) < ((place - hole) & _placeMask))
                continue;
            _places[hole] = _places[place];
            hole = place;
        }
        _places[hole] = None;
        _entries[entry].Next = _freeEntry;
        _freeEntry = entry;
        Count--;
    }

    private void Link(int number)
    {
        Range* range = _ranges + number;
        (range->Newer, range->Older) = (None, _newest);
        if (_newest == None)
            _oldest = number;
        else
            _ranges[_newest].Newer = number;
        _newest = number;
    }

    private void Unlink(int number)
    {
        (int newer, int older) = (_ranges[number].Newer, _ranges[number].Older);
        if (newer == None)
            _newest = older;
        else
            _ranges[newer].Older = older;
        if (older == None)
            _oldest = newer;
        else
            _ranges[older].Newer = newer;
    }

    private readonly int HomeOf(uint reference) => (int)((reference * _multiplier) >> _placeShift);
}
