namespace Blkring.Engine.Tests;

/// <summary>The table of persistent grants against a dictionary that does the same.</summary>
public sealed unsafe class PersistentGrantsTests
{
    [Theory]
    [InlineData(11, 1), InlineData(16, 2), InlineData(100, 3), InlineData(1056, 4)]
    public void It_finds_what_it_holds_evicts_the_longest_unused_and_never_holds_more(int capacity, int seed)
    {
        using Arena arena = new(PersistentGrants.SizeOf(capacity));
        PersistentGrants table = new(arena, capacity);
        Random random = new(seed);
        // Reference to address, in order of last use; what is pinned, with its pins.
        Dictionary<uint, nint> held = [];
        List<uint> unused = [];
        List<(uint Reference, int Entry)> pins = [];
        nint next = 4096;
        int evictions = 0, forgotten = 0;
        for (int step = 0; step < 50_000; step++)
        {
            int wanted = 1 + random.Next(11);
            if (random.Next(2) == 0 && table.HasRoom(wanted))
            {
                for (int i = 0; i < wanted; i++)
                {
                    // References that follow each other, as a guest's do, and some far off.
                    uint reference = random.Next(10) == 0 ? (uint)random.Next() * 3 : (uint)random.Next(capacity * 2);
                    int entry = table.Pin(reference);
                    Assert.Equal(reference, table.At(entry)->Reference);
                    pins.Add((reference, entry));
                    unused.Remove(reference);
                }
                for (int i = 0; i < table.EvictedCount; i++, evictions++)
                {
                    PersistentGrants.Entry evicted = table.Evicted[i];
                    // An eviction takes the one that was unused for longest; one that is wanted again in the same round may be among them.
                    Assert.True(held.Remove(evicted.Reference, out nint address));
                    Assert.Equal(address, (nint)evicted.Address);
                    unused.Remove(evicted.Reference);
                }
                foreach (int entry in table.Fresh)
                {
                    if (random.Next(20) == 0) continue;
                    table.At(entry)->Address = (byte*)next;
                    held.Add(table.At(entry)->Reference, next);
                    next += 4096;
                }
                table.Settle();
                foreach ((uint reference, int entry) in pins) Assert.Equal(held.GetValueOrDefault(reference), (nint)table.At(entry)->Address);
            }
            else if (pins.Count > 0)
            {
                int which = random.Next(pins.Count);
                (uint reference, int entry) = pins[which];
                pins.RemoveAt(which);
                table.Unpin(entry, step);
                if (pins.Exists(pin => pin.Reference == reference)) continue;
                if (held.ContainsKey(reference)) unused.Add(reference);
                else forgotten++;
            }
            Assert.InRange(table.Count, 0, capacity);
        }
        foreach ((_, int entry) in pins) table.Unpin(entry, 50_000);
        table.EvictUnused(long.MaxValue);
        Assert.Equal((held.Count, 0), (table.EvictedCount, table.Count));
        for (int i = 0; i < unused.Count; i++) Assert.Equal(unused[i], table.Evicted[i].Reference);
        Assert.True(evictions > 100 && forgotten > 100);
    }
}
