using Blkring.Abi;
using Blkring.Interop;

namespace Blkring.Engine.Loopback;

/// <summary>
/// Grant copy as the hypervisor does it, on a <see cref="GuestMemory"/>: every segment is checked for reference, type, domain,
/// read-only and bounds, and gets a status of its own.
/// </summary>
/// <remarks>The memory is held by the <see cref="LoopbackRingAccess"/> that made this, which outlives the queue.</remarks>
public readonly unsafe struct LoopbackGrants : IGrants
{
    private readonly GrantTable.GrantEntryV1* _table;
    private readonly byte* _frames;
    private readonly uint _grantCount, _frameCount;
    private readonly ushort _guest, _backend;

    internal LoopbackGrants(GuestMemory memory, DomainId guest, DomainId backend)
    {
        _table = memory.Table;
        _frames = memory.FirstFrame;
        (_grantCount, _frameCount) = ((uint)memory.Grants, (uint)memory.Frames);
        (_guest, _backend) = (guest.Value, backend.Value);
    }

    public static bool MovesData => true;

    public void Copy(GrantCopySegment* segments, int count)
    {
        for (int i = 0; i < count; i++) segments[i].Status = CopyOne(segments + i);
    }

    private short CopyOne(GrantCopySegment* segment)
    {
        bool toGuest = segment->Flags == GrantTable.GntcopyDestGref;
        if (!toGuest && segment->Flags != GrantTable.GntcopySourceGref) return GrantTable.GntstGeneralError;

        ForeignAddress foreign = toGuest ? segment->DestForeign : segment->SourceForeign;
        if (foreign.Domain != _guest) return GrantTable.GntstBadDomain;
        if (foreign.OffsetBytes + segment->LengthBytes > GuestMemory.PageBytes) return GrantTable.GntstBadCopyArg;
        short status = TryResolve(foreign.Reference, toGuest, out uint frame);
        if (status != GrantTable.GntstOkay) return status;

        // Safe: the frame is below the count agreed on, offset and length end within its page, the memfd cannot shrink.
        byte* page = _frames + ((nuint)frame * GuestMemory.PageBytes) + foreign.OffsetBytes;
        if (toGuest) Buffer.MemoryCopy(segment->SourceAddress, page, segment->LengthBytes, segment->LengthBytes);
        else Buffer.MemoryCopy(page, segment->DestAddress, segment->LengthBytes, segment->LengthBytes);
        return GrantTable.GntstOkay;
    }

    /// <summary>Checks one reference as the hypervisor would and finds its frame. The entry is read once: a guest may be changing it.</summary>
    internal short TryResolve(uint reference, bool forWriting, out uint frame)
    {
        frame = 0;
        if (reference >= _grantCount) return GrantTable.GntstBadGntref;
        ulong word = Volatile.Read(ref *(ulong*)(_table + reference));
        GrantTable.GrantEntryV1 entry = *(GrantTable.GrantEntryV1*)&word;
        if ((entry.Flags & GrantTable.GtfTypeMask) != GrantTable.GtfPermitAccess || entry.Domid != _backend) return GrantTable.GntstGeneralError;
        if (forWriting && (entry.Flags & GrantTable.GtfReadonly) != 0) return GrantTable.GntstGeneralError;
        if (entry.Frame >= _frameCount) return GrantTable.GntstBadPage;
        frame = entry.Frame;
        return GrantTable.GntstOkay;
    }

    /// <summary>Marks a mapped grant in the guest's table, as the hypervisor does, so that the guest can tell that it is in use.</summary>
    internal void SetMapped(uint reference, bool mapped)
    {
        ushort* flags = &_table[reference].Flags;
        ushort bits = (ushort)(GrantTable.GtfReading | GrantTable.GtfWriting);
        if (mapped) Interlocked.Or(ref *(uint*)flags, bits);
        else Interlocked.And(ref *(uint*)flags, ~(uint)bits);
    }
}
