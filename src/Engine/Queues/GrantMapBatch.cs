using Blkring.Abi;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Memory;
using Blkring.Engine.Telemetry;

namespace Blkring.Engine.Queues;

/// <summary>The two ways without a copy: the disk works on the guest's own pages.</summary>
/// <remarks>
/// <code>
/// Map         all requests of the pass: map ─► disk ─► unmap, all that were answered, before the push
/// Persistent  all requests of the pass: find the pages, map those not seen before ─► disk ─► keep them
/// </code>
/// Each is one call per pass.
/// </remarks>
internal unsafe struct GrantMapBatch
{
    private readonly GrantMapping* _maps;
    private readonly ushort* _members;
    private readonly GrantMode _mode;
    private readonly ushort _domain;
    private readonly QueueStatistics _statistics;
    private readonly FaultLog _faults;
    private PersistentGrants _persistent;
    private int _mapCount,
        _memberCount;

    /// <param name="domain">Whose grants are mapped.</param>
    public GrantMapBatch(Arena arena, in QueuePlan plan, ushort domain, QueueStatistics statistics, FaultLog faults)
    {
        (_mode, _domain, _statistics, _faults) = (plan.Mode, domain, statistics, faults);
        _maps = arena.Take<GrantMapping>(plan.Mappings);
        _members = arena.Take<ushort>(plan.Slots);
        if (plan.PersistentGrants > 0)
            _persistent = new PersistentGrants(arena, plan.PersistentGrants, plan.PersistentRanges);
    }

    public readonly bool IsEmpty => _memberCount == 0;

    /// <summary>Pages are mapped that no request uses, or that requests in flight use.</summary>
    public readonly bool HoldsPersistent => _persistent.Count > 0;

    /// <summary>
    /// Adds a request's pages to those that the pass maps; false when there is no room for them now.
    /// </summary>
    /// <param name="references">Set to the request's grant references or, when they persist, its entries.</param>
    public bool TryAdd(int index, Blkif.RequestSegment* segments, int count, bool writable, uint* references)
    {
        if (_mode == GrantMode.Persistent)
        {
            if (!_persistent.TryPin(segments, count, references))
                return false;
        }
        else
        {
            for (int i = 0; i < count; i++)
                references[i] = segments[i].Gref;
            AddMap(references, count, writable, address: null);
        }
        _members[_memberCount++] = (ushort)index;
        return true;
    }

    /// <summary>Maps what was added, in one call unless a grant is bad.</summary>
    /// <returns>True when persistent grants took less room than was kept for them.</returns>
    public bool Call<TGrants>(ref TGrants grants, long now)
        where TGrants : struct, IGrants
    {
        if (_mode == GrantMode.Persistent)
            return SettlePersistent(ref grants, now);
        CallMap(ref grants);
        return false;
    }

    /// <summary>
    /// Empties the batch after the call. The requests are then at <see cref="MemberAt"/>, from 0 on, and what became of
    /// their pages at <see cref="StatusOf"/>.
    /// </summary>
    /// <returns>The number of requests.</returns>
    public int TakeMembers()
    {
        int count = _memberCount;
        _memberCount = _mapCount = 0;
        return count;
    }

    public readonly int MemberAt(int place) => _members[place];

    /// <summary>GNTST_okay when all of the request's pages are mapped.</summary>
    /// <param name="place">The request's place in the batch.</param>
    public readonly short StatusOf(int place, uint* references, int count, bool writable)
    {
        if (_mode == GrantMode.Map)
            return _maps[place].Status;
        for (int i = 0; i < count; i++)
        {
            int entry = (int)references[i];
            if (_persistent.At(entry)->Address == null || (writable && _persistent.IsReadOnly(entry)))
                return GrantTable.GntstGeneralError;
        }
        return GrantTable.GntstOkay;
    }

    /// <summary>The first page of the request's own mapping.</summary>
    public readonly byte* AddressOf(int place) => _maps[place].Address;

    /// <summary>The page of a segment of a mapped request.</summary>
    /// <param name="mapped">The first page of the request's own mapping.</param>
    public readonly byte* PageOf(int segment, uint* references, byte* mapped) =>
        _mode == GrantMode.Persistent
            ? _persistent.At((int)references[segment])->Address
            : mapped + ((nint)segment * Arena.PageBytes);

    /// <summary>Has exactly what was mapped for the request unmapped, or unpins its entries.</summary>
    public void Release(ref RequestSlot slot, uint* references, long now)
    {
        int count = slot.Request.NrSegments;
        if ((slot.Holds & SlotHolds.Maps) != 0)
            AddMap(references, count, slot.Kind == RequestKind.Read, slot.Mapped);
        if ((slot.Holds & SlotHolds.Pins) != 0)
            for (int i = 0; i < count; i++)
                _persistent.Unpin((int)references[i], now);
        slot.VectorCount = 0;
    }

    /// <summary>Unmaps what was released, in one call.</summary>
    public void CallUnmap<TGrants>(ref TGrants grants, long now)
        where TGrants : struct, IGrants
    {
        UnmapGathered(ref grants, now);
        if (_persistent.EvictedCount == 0)
            return;
        UnmapEvicted(ref grants, now);
        _persistent.Settle();
    }

    /// <summary>Unmaps the persistent grants that no request has used since <paramref name="before"/>.</summary>
    /// <param name="max">The most ranges: each is a call of the hypervisor.</param>
    /// <returns>The number of ranges that were unmapped.</returns>
    public int ReleaseUnused<TGrants>(ref TGrants grants, long before, long now, int max = int.MaxValue)
        where TGrants : struct, IGrants
    {
        if (_persistent.Count == 0)
            return 0;
        _persistent.EvictUnused(before, max);
        int ranges = _persistent.EvictedCount;
        UnmapEvicted(ref grants, now);
        _persistent.Settle();
        return ranges;
    }

    private void AddMap(uint* references, int count, bool writable, byte* address) =>
        _maps[_mapCount++] = new GrantMapping
        {
            References = references,
            Count = count,
            Domain = _domain,
            Writable = writable,
            // Not okay until the call says so.
            Status = GrantTable.GntstGeneralError,
            Address = address,
        };

    private readonly void CallMap<TGrants>(ref TGrants grants)
        where TGrants : struct, IGrants
    {
        grants.Map(_maps, _mapCount);
        _statistics.GrantMapCallsField++;
        for (int i = 0; i < _mapCount; i++)
            if (_maps[i].Status == GrantTable.GntstOkay)
                _statistics.GrantMapPagesField += _maps[i].Count;
    }

    /// <summary>What stays mapped because of an error is lost, and reported.</summary>
    private void UnmapGathered<TGrants>(ref TGrants grants, long now)
        where TGrants : struct, IGrants
    {
        if (_mapCount == 0)
            return;
        grants.Unmap(_maps, _mapCount);
        _statistics.GrantUnmapCallsField++;
        for (int i = 0; i < _mapCount; i++)
        {
            if (_maps[i].Status == GrantTable.GntstOkay)
                _statistics.GrantUnmapPagesField += _maps[i].Count;
            else
                _faults.ReportUnmap(_maps[i].Count, _maps[i].Status, now);
        }
        _mapCount = 0;
    }

    /// <summary>
    /// Unmaps what had to give way, then maps what is new. It is mapped writable, for its next request may be a READ. A
    /// guest may have granted what it only writes read-only, although feature-persistent says not to: such a page
    /// serves as long as it is pinned.
    /// </summary>
    private bool SettlePersistent<TGrants>(ref TGrants grants, long now)
        where TGrants : struct, IGrants
    {
        UnmapEvicted(ref grants, now);
        bool fresh = _persistent.FreshCount > 0;
        if (fresh)
        {
            MapFresh(ref grants, PersistentGrants.MaxRangePages, writable: true);
            // One bad grant fails its whole range: retry page by page.
            MapFresh(ref grants, 1, writable: true);
            MapFresh(ref grants, 1, writable: false);
        }
        _persistent.Settle();
        // Together the fresh pages took fewer ranges than each by itself would have.
        return fresh;
    }

    /// <summary>Maps those of the fresh pages that are not mapped yet, in groups of <paramref name="pages"/>.</summary>
    private void MapFresh<TGrants>(ref TGrants grants, int pages, bool writable)
        where TGrants : struct, IGrants
    {
        int fresh = _persistent.FreshCount;
        for (int first = 0; first < fresh; first += pages)
            if (!_persistent.IsFreshMapped(first))
                AddMap(_persistent.FreshReferences + first, Math.Min(pages, fresh - first), writable, address: null);
        if (_mapCount == 0)
            return;
        CallMap(ref grants);
        for (int i = 0; i < _mapCount; i++)
        {
            GrantMapping* map = _maps + i;
            if (map->Status == GrantTable.GntstOkay)
                _persistent.SetMapped(
                    (int)(map->References - _persistent.FreshReferences),
                    map->Count,
                    map->Address,
                    isReadOnly: !writable
                );
        }
        _mapCount = 0;
    }

    private void UnmapEvicted<TGrants>(ref TGrants grants, long now)
        where TGrants : struct, IGrants
    {
        for (int i = 0; i < _persistent.EvictedCount; i++)
        {
            GrantMapping* evicted = _persistent.Evicted + i;
            AddMap(evicted->References, evicted->Count, evicted->Writable, evicted->Address);
        }
        UnmapGathered(ref grants, now);
    }
}
