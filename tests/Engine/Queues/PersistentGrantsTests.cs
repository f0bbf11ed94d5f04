using Blkring.Abi;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Memory;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Tests.Queues;

/// <summary>The table of persistent grants against a model of plain collections that does the same.</summary>
public sealed unsafe class PersistentGrantsTests
{
    private const int LongestRequest = 11;

    [Theory]
    [
        InlineData(11, 11, 1),
        InlineData(16, 12, 2),
        InlineData(100, 17, 3),
        InlineData(1056, 77, 4),
        InlineData(1056, 1056, 5)
    ]
    [Proves("B9")]
    public void It_finds_what_it_holds_evicts_the_ranges_longest_unused_and_never_holds_more(
        int capacity,
        int ranges,
        int seed
    )
    {
        using Arena arena = Arena.ToMeasure();
        _ = new PersistentGrants(arena, capacity, ranges);
        arena.Map();
        Model model = new(new PersistentGrants(arena, capacity, ranges), capacity, ranges);
        Random random = new(seed);
        for (int step = 0; step < 20_000; step++)
        {
            if (random.Next(2) == 0)
                model.Pin(random);
            else
                model.Unpin(random, step);
        }
        model.End();
        Assert.True(model.Evictions > 100 && model.Forgotten > 100 && model.Refused > (capacity < 100 ? 100 : -1));
    }

    private sealed class MappedRange
    {
        public required List<uint> References { get; init; }
        public required nint Address { get; init; }
        public bool IsReadOnly { get; init; }
        public int Pins { get; set; }
    }

    private sealed class Model(PersistentGrants table, int capacity, int ranges)
    {
        private PersistentGrants _table = table;
        private readonly Dictionary<uint, MappedRange> _held = [];
        private readonly List<MappedRange> _unused = [];
        private readonly List<(uint[] References, int[] Entries)> _requests = [];
        private nint _next = 4096;
        private int _evicted;

        public int Evictions { get; private set; }
        public int Forgotten { get; private set; }
        public int Refused { get; private set; }

        /// <summary>The requests of a pass, some of one segment and some of several.</summary>
        public void Pin(Random random)
        {
            Blkif.RequestSegment* segments = stackalloc Blkif.RequestSegment[LongestRequest];
            uint* entries = stackalloc uint[LongestRequest];
            for (int requests = 1 + random.Next(3); requests > 0; requests--)
            {
                int count = 1 + random.Next(LongestRequest);
                // References that follow each other, as a guest's do, and some far off; some twice.
                for (int i = 0; i < count; i++)
                    segments[i].Gref = random.Next(10) == 0 ? (uint)random.Next() * 3 : (uint)random.Next(capacity * 2);
                uint[] references = [.. Enumerable.Range(0, count).Select(i => segments[i].Gref)];
                int pinned = PinnedEntries;
                bool done = _table.TryPin(segments, count, entries);
                TakeEvicted(references);
                foreach (uint reference in references)
                    if (_held.TryGetValue(reference, out MappedRange? range) && range.Pins++ == 0)
                        _unused.Remove(range);
                if (!done)
                {
                    Refused++;
                    Assert.True(_requests.Count > 0, "with nothing in use there is room for every request");
                    Assert.Equal(pinned, PinnedEntries);
                    foreach (uint reference in references)
                        if (_held.TryGetValue(reference, out MappedRange? range))
                            UnpinHeld(range);
                    continue;
                }
                _requests.Add((references, [.. Enumerable.Range(0, count).Select(i => (int)entries[i])]));
            }
            Map(random);
            Settle();
            foreach ((uint[] references, int[] numbers) in _requests)
                for (int i = 0; i < references.Length; i++)
                    AssertEntry(references[i], numbers[i]);
            Assert.InRange(_table.Count, 0, capacity);
            Assert.InRange(_held.Values.Distinct().Count(), 0, ranges);
        }

        public void Unpin(Random random, int step)
        {
            if (_requests.Count == 0)
                return;
            (uint[] references, int[] entries) = _requests[random.Next(_requests.Count)];
            _requests.RemoveAll(request => request.Entries == entries);
            for (int i = 0; i < references.Length; i++)
            {
                _table.Unpin(entries[i], step);
                if (!_held.TryGetValue(references[i], out MappedRange? range))
                    Forgotten++;
                else
                    UnpinHeld(range);
            }
            // Those that were mapped read-only go at once.
            TakeEvicted([]);
            Settle();
        }

        private void UnpinHeld(MappedRange range)
        {
            if (--range.Pins == 0)
                _unused.Add(range);
        }

        private void Settle()
        {
            _table.Settle();
            _evicted = 0;
        }

        public void End()
        {
            Random random = new(1);
            while (_requests.Count > 0)
                Unpin(random, int.MaxValue);
            _table.EvictUnused(long.MaxValue);
            TakeEvicted([]);
            Settle();
            Assert.Equal((0, 0), (_held.Count, _table.Count));
        }

        private int PinnedEntries => _requests.Sum(request => request.Entries.Sum(entry => _table.At(entry)->Pins));

        private void AssertEntry(uint reference, int entry)
        {
            Assert.Equal(reference, _table.At(entry)->Reference);
            bool isHeld = _held.TryGetValue(reference, out MappedRange? range);
            nint address = isHeld ? range!.Address + (range.References.IndexOf(reference) * Arena.PageBytes) : 0;
            Assert.Equal(
                (address, isHeld && range!.IsReadOnly),
                ((nint)_table.At(entry)->Address, _table.IsReadOnly(entry))
            );
        }

        /// <summary>
        /// Each range goes whole, and those unused for longest first, but for those with pages that are wanted and in
        /// the way.
        /// </summary>
        private void TakeEvicted(uint[] wanted)
        {
            for (; _evicted < _table.EvictedCount; _evicted++, Evictions++)
            {
                GrantMapping evicted = _table.Evicted[_evicted];
                MappedRange range = _held[evicted.References[0]];
                Assert.Equal(range.References, new ReadOnlySpan<uint>(evicted.References, evicted.Count).ToArray());
                Assert.Equal(
                    (range.Address, !range.IsReadOnly, 0),
                    ((nint)evicted.Address, evicted.Writable, range.Pins)
                );
                if (!range.IsReadOnly && !range.References.Exists(wanted.Contains))
                    Assert.True(
                        wanted.Length == 0
                            || range
                                == _unused.Find(unused =>
                                    !unused.IsReadOnly && !unused.References.Exists(wanted.Contains)
                                )
                    );
                _unused.Remove(range);
                foreach (uint reference in range.References)
                    _held.Remove(reference);
            }
        }

        /// <summary>
        /// Together where all can be mapped; else each by itself, writable or read-only or not at all.
        /// </summary>
        private void Map(Random random)
        {
            for (int first = 0; first < _table.FreshCount; first += PersistentGrants.MaxRangePages)
            {
                int pages = Math.Min(PersistentGrants.MaxRangePages, _table.FreshCount - first);
                if (random.Next(4) > 0)
                {
                    SetMapped(first, pages, isReadOnly: false);
                    continue;
                }
                for (int i = first; i < first + pages; i++)
                    if (random.Next(3) is var how and > 0)
                        SetMapped(i, 1, isReadOnly: how == 1);
            }
        }

        private void SetMapped(int first, int pages, bool isReadOnly)
        {
            Assert.False(_table.IsFreshMapped(first));
            _table.SetMapped(first, pages, (byte*)_next, isReadOnly);
            Assert.True(_table.IsFreshMapped(first));
            List<uint> references = [.. new ReadOnlySpan<uint>(_table.FreshReferences + first, pages).ToArray()];
            MappedRange range = new()
            {
                References = references,
                Address = _next,
                IsReadOnly = isReadOnly,
                Pins = _requests.Sum(request => request.References.Count(references.Contains)),
            };
            foreach (uint reference in references)
                _held.Add(reference, range);
            _next += (pages + 1) * Arena.PageBytes;
        }
    }
}
