using System.Runtime.CompilerServices;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Memory;

namespace Blkring.Engine.Queues;

/// <summary>
/// Grant copies of many requests, made in one call (B16): one batch for the data of a pass, one for its segment lists.
/// </summary>
internal unsafe struct GrantCopyBatch
{
    /// <summary>A request, and where its segments end.</summary>
    private struct Member
    {
        public int Index,
            End;
    }

    private readonly GrantCopySegment* _segments;
    private readonly Member* _members;
    private readonly ushort _domain;
    private int _segmentCount,
        _memberCount;

    /// <param name="slots">Requests that can be in the batch at a time.</param>
    /// <param name="segments">Segments of all of them together.</param>
    /// <param name="domain">Whose grants are copied.</param>
    public GrantCopyBatch(Arena arena, int slots, int segments, ushort domain)
    {
        _segments = arena.Take<GrantCopySegment>(segments);
        _members = arena.Take<Member>(slots);
        _domain = domain;
    }

    public readonly bool IsEmpty => _memberCount == 0;
    public readonly int SegmentCount => _segmentCount;
    public readonly GrantCopySegment* Segments => _segments;

    /// <summary>Adds a request's data: one grant-copy segment per blkif segment (B9, B10).</summary>
    /// <param name="index">The request's slot.</param>
    /// <param name="local">The data, contiguous.</param>
    /// <param name="toGuest">True copies to the guest.</param>
    public void AddData(int index, Blkif.RequestSegment* segment, int count, byte* local, bool toGuest)
    {
        GrantCopySegment* copy = _segments + _segmentCount;
        for (Blkif.RequestSegment* end = segment + count; segment < end; segment++, copy++)
        {
            int length = (segment->LastSect - segment->FirstSect + 1) << Disk.SectorShift;
            ForeignAddress foreign = new()
            {
                Reference = segment->Gref,
                OffsetBytes = (ushort)(segment->FirstSect << Disk.SectorShift),
                Domain = _domain,
            };
            if (toGuest)
            {
                copy->SourceAddress = local;
                copy->DestForeign = foreign;
            }
            else
            {
                copy->SourceForeign = foreign;
                copy->DestAddress = local;
            }
            copy->LengthBytes = (ushort)length;
            copy->Flags = (ushort)(toGuest ? GrantTable.GntcopyDestGref : GrantTable.GntcopySourceGref);
            // Not okay until the copy says so: a call that fails as a whole leaves no segment looking copied.
            copy->Status = GrantTable.GntstGeneralError;
            local += length;
        }
        AddMember(index, count);
    }

    /// <summary>Adds whole pages of the guest's, the last perhaps in part.</summary>
    /// <param name="local">Where they go, contiguous.</param>
    public void AddPages(int index, uint* references, int lengthBytes, byte* local)
    {
        GrantCopySegment* first = _segments + _segmentCount;
        GrantCopySegment* copy = first;
        for (; lengthBytes > 0; lengthBytes -= Arena.PageBytes, local += Arena.PageBytes)
        {
            *copy++ = new GrantCopySegment
            {
                SourceForeign = new ForeignAddress { Reference = *references++, Domain = _domain },
                DestAddress = local,
                LengthBytes = (ushort)Math.Min(lengthBytes, Arena.PageBytes),
                Flags = GrantTable.GntcopySourceGref,
                Status = GrantTable.GntstGeneralError,
            };
        }
        AddMember(index, (int)(copy - first));
    }

    /// <summary>
    /// Empties the batch after the call. A request may be added again once the results before it were read.
    /// </summary>
    public Results TakeResults()
    {
        Results results = new(_segments, _members, _memberCount);
        _segmentCount = _memberCount = 0;
        return results;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void AddMember(int index, int segments)
    {
        _segmentCount += segments;
        _members[_memberCount++] = new Member { Index = index, End = _segmentCount };
    }

    /// <summary>The requests of a batch that was copied, each with the status of its own segments.</summary>
    public ref struct Results
    {
        private readonly GrantCopySegment* _segments;
        private readonly Member* _end;
        private Member* _next;
        private int _segment;

        internal Results(GrantCopySegment* segments, void* members, int count)
        {
            _segments = segments;
            _next = (Member*)members;
            _end = _next + count;
        }

        /// <param name="index">The request's slot.</param>
        /// <param name="status">GNTST_okay, or that of its last segment that failed.</param>
        /// <returns>False after the last request.</returns>
        public bool TryTake(out int index, out short status)
        {
            (index, status) = (0, GrantTable.GntstOkay);
            if (_next == _end)
                return false;
            index = _next->Index;
            for (int end = _next->End; _segment < end; _segment++)
                if (_segments[_segment].Status != GrantTable.GntstOkay)
                    status = _segments[_segment].Status;
            _next++;
            return true;
        }
    }
}
