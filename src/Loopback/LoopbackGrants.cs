using Blkring.Abi;
using Blkring.Engine.Hypervisor;
using Blkring.Interop;

namespace Blkring.Loopback;

/// <summary>
/// Copies and maps grants of a <see cref="GuestMemory"/> as the hypervisor does: each segment or group is checked for
/// reference, type, domain, read-only and bounds, and gets a status of its own.
/// </summary>
/// <remarks>
/// The <see cref="LoopbackRingAccess"/> that made this holds the memory, and outlives the queue.
/// </remarks>
public readonly unsafe struct LoopbackGrants : IGrants
{
    private readonly GuestMemory _memory;
    private readonly GrantTable.GrantEntryV1* _table;
    private readonly byte* _frames;
    private readonly uint _grantCount,
        _frameCount;
    private readonly ushort _guest,
        _backend;

    internal LoopbackGrants(GuestMemory memory, DomainId guest, DomainId backend)
    {
        _memory = memory;
        _table = memory.Table;
        _frames = memory.FirstFrame;
        (_grantCount, _frameCount) = ((uint)memory.Grants, (uint)memory.Frames);
        (_guest, _backend) = (guest.Value, backend.Value);
    }

    public static bool MovesData => true;

    public void Copy(GrantCopySegment* segments, int count)
    {
        for (int i = 0; i < count; i++)
            segments[i].Status = CopyOne(segments + i);
    }

    private short CopyOne(GrantCopySegment* segment)
    {
        bool toGuest = segment->Flags == GrantTable.GntcopyDestGref;
        if (!toGuest && segment->Flags != GrantTable.GntcopySourceGref)
            return GrantTable.GntstGeneralError;

        ForeignAddress foreign = toGuest ? segment->DestForeign : segment->SourceForeign;
        if (foreign.Domain != _guest)
            return GrantTable.GntstBadDomain;
        if (foreign.OffsetBytes + segment->LengthBytes > GuestMemory.PageBytes)
            return GrantTable.GntstBadCopyArg;
        short status = TryResolve(foreign.Reference, toGuest, out uint frame);
        if (status != GrantTable.GntstOkay)
            return status;

        // Safe: the frame is below the agreed count, offset and length end within its page, the memfd cannot shrink.
        byte* page = _frames + ((nuint)frame * GuestMemory.PageBytes) + foreign.OffsetBytes;
        if (toGuest)
            Buffer.MemoryCopy(segment->SourceAddress, page, segment->LengthBytes, segment->LengthBytes);
        else
            Buffer.MemoryCopy(page, segment->DestAddress, segment->LengthBytes, segment->LengthBytes);
        return GrantTable.GntstOkay;
    }

    /// <summary>
    /// Checks one reference as the hypervisor does, and finds its frame. The entry is read once, because a guest may
    /// change it at any time.
    /// </summary>
    internal short TryResolve(uint reference, bool forWriting, out uint frame)
    {
        frame = 0;
        if (reference >= _grantCount)
            return GrantTable.GntstBadGntref;
        ulong word = Volatile.Read(ref *(ulong*)(_table + reference));
        GrantTable.GrantEntryV1 entry = *(GrantTable.GrantEntryV1*)&word;
        if ((entry.Flags & GrantTable.GtfTypeMask) != GrantTable.GtfPermitAccess || entry.Domid != _backend)
            return GrantTable.GntstGeneralError;
        if (forWriting && (entry.Flags & GrantTable.GtfReadonly) != 0)
            return GrantTable.GntstGeneralError;
        if (entry.Frame >= _frameCount)
            return GrantTable.GntstBadPage;
        frame = entry.Frame;
        return GrantTable.GntstOkay;
    }

    /// <remarks>
    /// These are real mappings of the guest's memory: a write to a read-only one, or a use after the unmapping, ends
    /// the process with SIGSEGV.
    /// </remarks>
    public void Map(GrantMapping* mappings, int count)
    {
        for (int i = 0; i < count; i++)
            mappings[i].Status = MapOne(mappings + i);
    }

    public void Unmap(GrantMapping* mappings, int count)
    {
        for (int i = 0; i < count; i++)
            mappings[i].Status = UnmapOne(mappings + i);
    }

    private short MapOne(GrantMapping* mapping)
    {
        if (mapping->Domain != _guest)
            return GrantTable.GntstBadDomain;
        Span<uint> frames = stackalloc uint[mapping->Count];
        for (int i = 0; i < frames.Length; i++)
        {
            short status = TryResolve(mapping->References[i], mapping->Writable, out frames[i]);
            if (status != GrantTable.GntstOkay)
                return status;
        }
        nint address = MapFrames(frames, mapping->Writable);
        if (address < 0)
            return GrantTable.GntstNoSpace;
        for (int i = 0; i < frames.Length; i++)
            SetMapped(mapping->References[i], mapping->Writable);
        mapping->Address = (byte*)address;
        return GrantTable.GntstOkay;
    }

    /// <summary>
    /// Maps consecutive frames with one mapping; others with several, side by side in a range that is reserved first.
    /// </summary>
    private nint MapFrames(ReadOnlySpan<uint> frames, bool writable)
    {
        int first = RunLength(frames);
        if (first == frames.Length)
            return MapRun(0, frames[0], first, writable);
        nuint length = (nuint)frames.Length * GuestMemory.PageBytes;
        nint range = Libc.Mmap(0, length, Libc.PROT_NONE, Libc.MAP_PRIVATE | Libc.MAP_ANONYMOUS, -1, 0);
        for (int done = 0; range >= 0 && done < frames.Length; )
        {
            int run = RunLength(frames[done..]);
            nint mapped = MapRun(range + ((nint)done * GuestMemory.PageBytes), frames[done], run, writable);
            done += run;
            if (mapped >= 0)
                continue;
            _ = Libc.Munmap((void*)range, length);
            return mapped;
        }
        return range;
    }

    private nint MapRun(nint place, uint frame, int frames, bool writable) =>
        Libc.Mmap(
            place,
            (nuint)frames * GuestMemory.PageBytes,
            writable ? Libc.PROT_READ | Libc.PROT_WRITE : Libc.PROT_READ,
            Libc.MAP_SHARED | Libc.MAP_POPULATE | (place != 0 ? Libc.MAP_FIXED : 0),
            _memory.Descriptor,
            _memory.OffsetOf(frame)
        );

    private static int RunLength(ReadOnlySpan<uint> frames)
    {
        int length = 1;
        while (length < frames.Length && frames[length] == frames[length - 1] + 1)
            length++;
        return length;
    }

    private short UnmapOne(GrantMapping* mapping)
    {
        if (Libc.Munmap(mapping->Address, (nuint)mapping->Count * GuestMemory.PageBytes) < 0)
            return GrantTable.GntstBadVirtAddr;
        for (int i = 0; i < mapping->Count; i++)
            SetUnmapped(mapping->References[i]);
        return GrantTable.GntstOkay;
    }

    /// <summary>
    /// Marks the grant as mapped in the guest's table, as the hypervisor does, so that the guest sees that it is in
    /// use.
    /// </summary>
    internal void SetMapped(uint reference, bool writable)
    {
        Interlocked.Increment(ref _memory.MapCounts[reference]);
        ushort bits = (ushort)(writable ? GrantTable.GtfReading | GrantTable.GtfWriting : GrantTable.GtfReading);
        Interlocked.Or(ref *(uint*)&_table[reference].Flags, bits);
    }

    internal void SetUnmapped(uint reference)
    {
        if (Interlocked.Decrement(ref _memory.MapCounts[reference]) > 0)
            return;
        Interlocked.And(ref *(uint*)&_table[reference].Flags, ~(uint)(GrantTable.GtfReading | GrantTable.GtfWriting));
    }
}
