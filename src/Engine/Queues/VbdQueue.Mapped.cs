using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Memory;
using Blkring.Engine.Telemetry;
using Blkring.Interop;

namespace Blkring.Engine.Queues;

/// <summary>The two ways without a copy: the disk works on the guest's own pages.</summary>
/// <remarks>
/// <code>
/// Map         all requests of the pass: map ─► disk ─► unmap, all that were answered, before the push
/// Persistent  all requests of the pass: find the pages, map those not seen before ─► disk ─► keep them
/// </code>
/// </remarks>
public sealed unsafe partial class VbdQueue<TAbi, TGrants, TEvents, TDisk>
{
    /// <summary>
    /// What a mapped request keeps about its segments: where they are, and which grants (or entries) they are.
    /// </summary>
    private const int ScratchBytesPerSegment = 16 + sizeof(uint);
    private const int ScratchBytesPerSlot = 256;

    private byte* ScratchOf(int index, ref RequestSlot slot) =>
        (slot.Holds & SlotHolds.Pages) == 0
            ? _scratch + ((nint)index * ScratchBytesPerSlot)
            : _pool.At(slot.RunFirst + ListPagesOf(slot.Request.NrSegments));

    private iovec* VectorsOf(int index, ref RequestSlot slot) => (iovec*)ScratchOf(index, ref slot);

    private uint* ReferencesOf(int index, ref RequestSlot slot) =>
        (uint*)(VectorsOf(index, ref slot) + slot.Request.NrSegments);

    /// <summary>
    /// Has the request's pages mapped with the others of the pass; false when there is no room for them now.
    /// </summary>
    private bool TryGatherMaps(int index, ref RequestSlot slot)
    {
        int segments = slot.Request.NrSegments;
        Blkif.RequestSegment* segment = SegmentsOf(ref slot);
        uint* references = ReferencesOf(index, ref slot);
        if (_mode == GrantMode.Persistent)
        {
            if (!_persistent.TryPin(segment, segments, references))
                return false;
            Hold(ref slot, SlotHolds.Pins);
        }
        else
        {
            for (int i = 0; i < segments; i++)
                references[i] = segment[i].Gref;
            AddMap(references, segments, slot.Kind == RequestKind.Read, address: null);
        }
        slot.Stage = SlotStage.Map;
        _mapping[_mappingCount++] = (ushort)index;
        return true;
    }

    private void AddMap(uint* references, int count, bool writable, byte* address) =>
        _maps[_mapCount++] = new GrantMapping
        {
            References = references,
            Count = count,
            Domain = _frontend,
            Writable = writable,
            // Not okay until the call says so.
            Status = GrantTable.GntstGeneralError,
            Address = address,
        };

    /// <summary>One call for all requests of the pass; each goes its way by the status of its own pages.</summary>
    private void MapGrants()
    {
        if (_mappingCount == 0)
            return;
        if (_mode == GrantMode.Persistent)
            SettlePersistent();
        else
            CallMap();

        int requests = _mappingCount;
        _mappingCount = _mapCount = 0;
        for (int i = 0; i < requests; i++)
        {
            int index = _mapping[i];
            ref RequestSlot slot = ref _slots[index];
            if (_mode == GrantMode.Map && _maps[i].Status == GrantTable.GntstOkay)
            {
                slot.Data = _maps[i].Address;
                Hold(ref slot, SlotHolds.Maps);
            }
            short status = _mode == GrantMode.Map ? _maps[i].Status : StatusOfPinned(index, ref slot);
            if (status == GrantTable.GntstOkay)
                FillVectors(index, ref slot);
            FinishFetch(index, ref slot, status, FaultKind.GrantMap);
        }
    }

    private void CallMap()
    {
        _grants.Map(_maps, _mapCount);
        Statistics.GrantMapCallsField++;
        for (int i = 0; i < _mapCount; i++)
            if (_maps[i].Status == GrantTable.GntstOkay)
                Statistics.GrantMapPagesField += _maps[i].Count;
    }

    /// <summary>All that was gathered for it. What stays mapped because of an error is lost, and told.</summary>
    private void CallUnmap()
    {
        if (_mapCount == 0)
            return;
        _grants.Unmap(_maps, _mapCount);
        Statistics.GrantUnmapCallsField++;
        for (int i = 0; i < _mapCount; i++)
        {
            if (_maps[i].Status == GrantTable.GntstOkay)
                Statistics.GrantUnmapPagesField += _maps[i].Count;
            else
                Faults.ReportUnmap(_maps[i].Count, _maps[i].Status, _passStarted);
        }
        _mapCount = 0;
    }

    /// <summary>
    /// Unmaps what had to give way, then maps what is new: writable, for its next request may be a READ; what the guest
    /// only writes it may have granted read-only, although feature-persistent says not to, and such a page serves as
    /// long as it is pinned.
    /// </summary>
    private void SettlePersistent()
    {
        UnmapEvicted();
        if (_persistent.FreshCount > 0)
        {
            MapFresh(PersistentGrants.MaxRangePages, writable: true);
            // A page that is not to be had fails its range: then each by itself.
            MapFresh(1, writable: true);
            MapFresh(1, writable: false);
            // Together they took fewer ranges than each by itself would have: those who wait may have room now.
            _released = true;
        }
        _persistent.Settle();
    }

    /// <summary>Those of the fresh that are not mapped yet, so many pages together.</summary>
    private void MapFresh(int pages, bool writable)
    {
        int fresh = _persistent.FreshCount;
        for (int first = 0; first < fresh; first += pages)
            if (!_persistent.IsFreshMapped(first))
                AddMap(_persistent.FreshReferences + first, Math.Min(pages, fresh - first), writable, address: null);
        if (_mapCount == 0)
            return;
        CallMap();
        for (int i = 0; i < _mapCount; i++)
        {
            ref GrantMapping map = ref _maps[i];
            if (map.Status == GrantTable.GntstOkay)
                _persistent.SetMapped(
                    (int)(map.References - _persistent.FreshReferences),
                    map.Count,
                    map.Address,
                    isReadOnly: !writable
                );
        }
        _mapCount = 0;
    }

    private void UnmapEvicted()
    {
        for (int i = 0; i < _persistent.EvictedCount; i++)
        {
            GrantMapping* evicted = _persistent.Evicted + i;
            AddMap(evicted->References, evicted->Count, evicted->Writable, evicted->Address);
        }
        CallUnmap();
    }

    private short StatusOfPinned(int index, ref RequestSlot slot)
    {
        uint* entries = ReferencesOf(index, ref slot);
        bool writes = slot.Kind == RequestKind.Read;
        for (int i = 0; i < slot.Request.NrSegments; i++)
            if (_persistent.At((int)entries[i])->Address == null || (writes && _persistent.IsReadOnly((int)entries[i])))
                return GrantTable.GntstGeneralError;
        return GrantTable.GntstOkay;
    }

    /// <summary>
    /// Where the data is, for one disk operation: pages that follow each other are one vector, and one vector is a
    /// plain buffer.
    /// </summary>
    private void FillVectors(int index, ref RequestSlot slot)
    {
        Blkif.RequestSegment* segments = SegmentsOf(ref slot);
        iovec* vectors = VectorsOf(index, ref slot);
        uint* entries = ReferencesOf(index, ref slot);
        int last = -1;
        for (int i = 0; i < slot.Request.NrSegments; i++)
        {
            byte* page =
                _mode == GrantMode.Persistent
                    ? _persistent.At((int)entries[i])->Address
                    : slot.Data + ((nint)i * Arena.PageBytes);
            byte* start = page + (segments[i].FirstSect << Disk.SectorShift);
            nuint length = (nuint)(segments[i].LastSect - segments[i].FirstSect + 1) << Disk.SectorShift;
            if (last >= 0 && (byte*)vectors[last].iov_base + vectors[last].iov_len == start)
                vectors[last].iov_len += length;
            else
                vectors[++last] = new iovec { iov_base = start, iov_len = length };
        }
        slot.Mapped = slot.Data;
        slot.Data = (byte*)vectors[0].iov_base;
        slot.Vectors = vectors;
        slot.VectorCount = last == 0 ? 0 : last + 1;
    }

    /// <summary>The next transfer of a request in several vectors: as many as the kernel takes at a time.</summary>
    private static void SetVectors(ref RequestSlot slot, ref DiskOperation operation)
    {
        operation.Vectors = slot.Vectors;
        operation.VectorCount = Math.Min(slot.VectorCount, DiskOperation.MaxVectors);
        if (operation.VectorCount == slot.VectorCount)
            return;
        nuint length = 0;
        for (int i = 0; i < operation.VectorCount; i++)
            length += slot.Vectors[i].iov_len;
        operation.LengthBytes = (int)length;
    }

    /// <summary>So many bytes are done: what is left of the vectors.</summary>
    private static void AdvanceVectors(ref RequestSlot slot, int bytes)
    {
        while (slot.VectorCount > 0 && (nuint)bytes >= slot.Vectors->iov_len)
        {
            bytes -= (int)slot.Vectors->iov_len;
            slot.Vectors++;
            slot.VectorCount--;
        }
        if (bytes == 0)
            return;
        slot.Vectors->iov_base = (byte*)slot.Vectors->iov_base + bytes;
        slot.Vectors->iov_len -= (nuint)bytes;
    }

    /// <summary>
    /// Exactly what was mapped for the request goes to the pass's unmapping, or its entries are unpinned.
    /// </summary>
    private void ReleaseMapped(int index, ref RequestSlot slot, long now)
    {
        uint* references = ReferencesOf(index, ref slot);
        if ((slot.Holds & SlotHolds.Maps) != 0)
            AddMap(references, slot.Request.NrSegments, slot.Kind == RequestKind.Read, slot.Mapped);
        if ((slot.Holds & SlotHolds.Pins) != 0)
            for (int i = 0; i < slot.Request.NrSegments; i++)
                _persistent.Unpin((int)references[i], now);
        slot.VectorCount = 0;
    }

    public override bool HoldsIdleGrants => _persistent.Count > 0;

    public override void ReleaseIdleGrants(long now)
    {
        if (_persistent.Count == 0)
            return;
        _persistent.EvictUnused(now - _persistentIdleTicks);
        UnmapEvicted();
        _persistent.Settle();
    }

    /// <summary>Nothing is in flight: all that is still mapped goes.</summary>
    private void ReleaseAllGrants()
    {
        if (_persistent.Count == 0)
            return;
        _persistent.EvictUnused(long.MaxValue);
        UnmapEvicted();
        _persistent.Settle();
    }
}
