using Blkring.Abi;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Memory;
using Blkring.Engine.Queues;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests.Queues.Parts;

public sealed unsafe class GrantMapBatchTests
{
    private const ushort Guest = 7;

    [Fact]
    public void The_requests_of_a_pass_are_mapped_by_one_call_and_each_has_its_own_status()
    {
        using Bench bench = new(GrantMode.Map);
        bench.Kernel.Bad.Add(20);
        Assert.True(bench.Add(5, writable: true, 10, 11));
        Assert.True(bench.Add(2, writable: false, 20));
        Assert.True(bench.Add(6, writable: true, 30));
        Assert.False(bench.Batch.IsEmpty);
        Assert.False(bench.Call());

        Assert.Equal((1, 3), (bench.Kernel.MapCalls, bench.Batch.TakeMembers()));
        Assert.True(bench.Batch.IsEmpty);
        Assert.Equal([5, 2, 6], new[] { bench.Batch.MemberAt(0), bench.Batch.MemberAt(1), bench.Batch.MemberAt(2) });
        Assert.Equal(
            [GrantTable.GntstOkay, GrantTable.GntstBadGntref, GrantTable.GntstOkay],
            new[] { bench.Status(0, 5), bench.Status(1, 2), bench.Status(2, 6) }
        );
        Assert.Equal((1L, 3L), (bench.Statistics.GrantMapCalls, bench.Statistics.GrantMapPages));
        Assert.Equal([(10u, true), (11u, true), (30u, true)], bench.Kernel.Mapped.OrderBy(page => page.Reference));
        byte* mapped = bench.Batch.AddressOf(0);
        Assert.True(bench.Batch.PageOf(1, bench.References(5), mapped) == mapped + Arena.PageBytes);
    }

    [Fact]
    public void What_a_call_did_not_say_is_mapped_counts_as_not_mapped()
    {
        using Bench bench = new(GrantMode.Map);
        bench.Kernel.IsSilent = true;
        bench.Add(1, writable: true, 10);
        bench.Call();
        Assert.Equal(1, bench.Batch.TakeMembers());
        Assert.Equal(GrantTable.GntstGeneralError, bench.Status(0, 1));
        Assert.Equal(0, bench.Statistics.GrantMapPages);
    }

    [Fact]
    public void Exactly_what_was_mapped_for_answered_requests_is_unmapped_by_one_call()
    {
        using Bench bench = new(GrantMode.Map);
        bench.Add(0, writable: true, 10, 11);
        bench.Add(1, writable: false, 12);
        bench.Add(2, writable: false, 13);
        bench.Call();
        bench.TakeAll(SlotHolds.Maps);
        bench.Release(0, RequestKind.Read);
        bench.Release(2, RequestKind.Write);
        bench.Unmap();
        Assert.Equal(1, bench.Kernel.UnmapCalls);
        Assert.Equal([(12u, false)], bench.Kernel.Mapped);
        bench.Unmap();
        Assert.Equal((1, 3L), (bench.Kernel.UnmapCalls, bench.Statistics.GrantUnmapPages));
        Assert.False(bench.Faults.TryRead(out _));
    }

    [Fact]
    public void Pages_that_cannot_be_unmapped_are_reported_and_not_counted()
    {
        using Bench bench = new(GrantMode.Map);
        bench.Add(0, writable: true, 10, 11);
        bench.Call();
        bench.TakeAll(SlotHolds.Maps);
        bench.Kernel.RefusesUnmap = true;
        bench.Release(0, RequestKind.Read);
        bench.Unmap();
        Assert.Equal(0, bench.Statistics.GrantUnmapPages);
        Assert.True(bench.Faults.TryRead(out Fault fault));
        Assert.Equal((FaultKind.GrantUnmap, 2, GrantTable.GntstBadHandle), (fault.Kind, fault.Pages, fault.Code));
    }

    [Fact]
    public void A_persistent_page_is_mapped_once_and_stays_until_it_is_unused_for_long_enough()
    {
        using Bench bench = new(GrantMode.Persistent);
        bench.Add(0, writable: false, 10, 11);
        Assert.True(bench.Call());
        bench.TakeAll(SlotHolds.Pins);
        bench.Release(0, RequestKind.Write, now: 100);
        bench.Unmap();
        Assert.True(bench.Batch.HoldsPersistent);

        // The same pages, now for a READ: no call, and they were mapped for it.
        bench.Add(1, writable: true, 11, 10);
        Assert.False(bench.Call());
        bench.Batch.TakeMembers();
        Assert.Equal(GrantTable.GntstOkay, bench.Status(0, 1, writable: true));
        Assert.Equal((1, 0), (bench.Kernel.MapCalls, bench.Kernel.UnmapCalls));
        uint* references = bench.References(1);
        Assert.Equal(
            Arena.PageBytes,
            bench.Batch.PageOf(0, references, null) - bench.Batch.PageOf(1, references, null)
        );

        bench.ReleaseUnused(before: 1000);
        Assert.Equal(2, bench.Kernel.Mapped.Count);
        bench.Slot(1).Holds = SlotHolds.Pins;
        bench.Release(1, RequestKind.Read, now: 200);
        bench.ReleaseUnused(before: 199);
        Assert.Equal(2, bench.Kernel.Mapped.Count);
        bench.ReleaseUnused(before: 200);
        Assert.Empty(bench.Kernel.Mapped);
        Assert.False(bench.Batch.HoldsPersistent);
    }

    [Fact]
    public void A_bad_grant_fails_its_own_request_although_others_were_to_share_its_range()
    {
        using Bench bench = new(GrantMode.Persistent);
        bench.Kernel.Bad.Add(12);
        bench.Add(0, writable: true, 10, 11);
        bench.Add(1, writable: true, 12, 13);
        bench.Call();
        Assert.Equal(2, bench.Batch.TakeMembers());
        Assert.Equal(GrantTable.GntstOkay, bench.Status(0, 0));
        Assert.Equal(GrantTable.GntstGeneralError, bench.Status(1, 1));
        Assert.Equal([10u, 11u, 13u], bench.Kernel.Mapped.Select(page => page.Reference).Order());
    }

    [Fact]
    public void A_page_granted_read_only_serves_what_the_guest_writes_and_is_not_kept()
    {
        using Bench bench = new(GrantMode.Persistent);
        bench.Kernel.ReadOnly.Add(10);
        bench.Add(0, writable: false, 10);
        bench.Add(1, writable: true, 10);
        bench.Call();
        Assert.Equal(2, bench.Batch.TakeMembers());
        Assert.Equal(GrantTable.GntstOkay, bench.Status(0, 0, writable: false));
        Assert.Equal(GrantTable.GntstGeneralError, bench.Status(1, 1, writable: true));
        bench.Slot(0).Holds = bench.Slot(1).Holds = SlotHolds.Pins;
        bench.Release(0, RequestKind.Write);
        bench.Release(1, RequestKind.Read);
        bench.Unmap();
        Assert.Empty(bench.Kernel.Mapped);
    }

    [Fact]
    public void Without_room_a_request_is_not_added_and_pins_nothing()
    {
        using Bench bench = new(GrantMode.Persistent, persistentGrants: 11);
        uint[] first = [.. Enumerable.Range(100, 11).Select(reference => (uint)reference)];
        Assert.True(bench.Add(0, writable: true, first));
        Assert.False(bench.Add(1, writable: true, 100, 200));
        bench.Call();
        bench.TakeAll(SlotHolds.Pins);
        Assert.Equal(11, bench.Kernel.Mapped.Count);
        bench.Release(0, RequestKind.Read);
        // What gives way is unmapped before the new page is mapped: there are never more than entries.
        Assert.True(bench.Add(1, writable: true, 200));
        bench.Call();
        Assert.Equal(11, bench.Kernel.MostMapped);
        Assert.Contains((200u, true), bench.Kernel.Mapped);
    }

    /// <summary>
    /// A batch, slots and references for its requests, and a hypervisor that does what the test says.
    /// </summary>
    private sealed class Bench : IDisposable
    {
        private const int MaxSegments = 11;

        private readonly PartArena _part = new();
        private readonly Arena _arena = Arena.ToMeasure();
        private readonly uint* _references;
        private FakeGrants _grants;

        // A struct with state: a field, or every call would work on a copy.
        public GrantMapBatch Batch;

        public Bench(GrantMode mode, int? persistentGrants = null)
        {
            using ScriptedDisk disk = new(64);
            VbdQueueOptions options = new() { GrantMode = mode, MaxPersistentGrants = persistentGrants };
            QueuePlan plan = new(options, disk, PartArena.Count, adopted: null);
            _ = new GrantMapBatch(_arena, plan, Guest, Statistics, Faults);
            _arena.Map();
            Batch = new GrantMapBatch(_arena, plan, Guest, Statistics, Faults);
            _references = _part.Arena.Take<uint>(PartArena.Count * MaxSegments);
            _grants = new FakeGrants(Kernel);
        }

        public QueueStatistics Statistics { get; } = new();
        public FaultLog Faults { get; } = new();
        public FakeKernel Kernel { get; } = new();

        public uint* References(int index) => _references + (index * MaxSegments);

        public ref RequestSlot Slot(int index) => ref _part.Slots[index];

        public bool Add(int index, bool writable, params uint[] references)
        {
            ref RequestSlot slot = ref Slot(index);
            slot.Request.NrSegments = (ushort)references.Length;
            Blkif.RequestSegment* segments = stackalloc Blkif.RequestSegment[MaxSegments];
            for (int i = 0; i < references.Length; i++)
                segments[i].Gref = references[i];
            return Batch.TryAdd(index, segments, references.Length, writable, References(index));
        }

        public bool Call() => Batch.Call(ref _grants, now: 0);

        /// <summary>As the queue does after a call in which nothing failed.</summary>
        public void TakeAll(SlotHolds holds)
        {
            int count = Batch.TakeMembers();
            for (int place = 0; place < count; place++)
            {
                ref RequestSlot slot = ref Slot(Batch.MemberAt(place));
                slot.Holds = holds;
                slot.Mapped = Batch.AddressOf(place);
            }
        }

        public int Status(int place, int index, bool writable = true) =>
            Batch.StatusOf(place, References(index), Slot(index).Request.NrSegments, writable);

        public void Release(int index, RequestKind kind, long now = 0)
        {
            Slot(index).Kind = kind;
            Batch.Release(ref Slot(index), References(index), now);
        }

        public void Unmap() => Batch.CallUnmap(ref _grants, now: 0);

        public void ReleaseUnused(long before) => Batch.ReleaseUnused(ref _grants, before, now: 0);

        public void Dispose()
        {
            _arena.Dispose();
            _part.Dispose();
        }
    }

    /// <summary>What is mapped, by grant reference. Addresses are made up; nothing follows them.</summary>
    private sealed class FakeKernel
    {
        private readonly Dictionary<nint, (uint Reference, bool Writable)[]> _groups = [];
        private nint _nextAddress = 1 << 20;

        public HashSet<uint> Bad { get; } = [];

        /// <summary>Granted read-only: cannot be mapped writable.</summary>
        public HashSet<uint> ReadOnly { get; } = [];

        /// <summary>The call fails as a whole and sets nothing.</summary>
        public bool IsSilent { get; set; }
        public bool RefusesUnmap { get; set; }
        public int MapCalls { get; private set; }
        public int UnmapCalls { get; private set; }
        public int MostMapped { get; private set; }
        public List<(uint Reference, bool Writable)> Mapped => [.. _groups.Values.SelectMany(group => group)];

        public void Map(Span<GrantMapping> mappings)
        {
            MapCalls++;
            if (IsSilent)
                return;
            foreach (ref GrantMapping mapping in mappings)
            {
                Assert.Equal(Guest, mapping.Domain);
                bool writable = mapping.Writable;
                uint[] references = new ReadOnlySpan<uint>(mapping.References, mapping.Count).ToArray();
                bool fails = references.Any(reference =>
                    Bad.Contains(reference) || (writable && ReadOnly.Contains(reference))
                );
                mapping.Status = (short)(fails ? GrantTable.GntstBadGntref : GrantTable.GntstOkay);
                if (fails)
                    continue;
                mapping.Address = (byte*)_nextAddress;
                _groups.Add(_nextAddress, [.. references.Select(reference => (reference, writable))]);
                _nextAddress += mapping.Count * Arena.PageBytes;
                MostMapped = Math.Max(MostMapped, Mapped.Count);
            }
        }

        public void Unmap(Span<GrantMapping> mappings)
        {
            UnmapCalls++;
            foreach (ref GrantMapping mapping in mappings)
            {
                mapping.Status = (short)(RefusesUnmap ? GrantTable.GntstBadHandle : GrantTable.GntstOkay);
                if (RefusesUnmap)
                    continue;
                Assert.True(_groups.Remove((nint)mapping.Address, out (uint Reference, bool Writable)[]? group));
                Assert.Equal(
                    group.Select(page => page.Reference),
                    new ReadOnlySpan<uint>(mapping.References, mapping.Count).ToArray()
                );
            }
        }
    }

    private readonly struct FakeGrants(FakeKernel kernel) : IGrants
    {
        public static bool MovesData => true;

        public void Copy(GrantCopySegment* segments, int count) => Assert.Fail("a mapped request copies nothing");

        public void Map(GrantMapping* mappings, int count) => kernel.Map(new Span<GrantMapping>(mappings, count));

        public void Unmap(GrantMapping* mappings, int count) => kernel.Unmap(new Span<GrantMapping>(mappings, count));
    }
}
