using Blkring.Abi;
using Blkring.Engine.Hypervisor;
using Blkring.Interop;

namespace Blkring.Engine.Xen;

/// <summary>A guest's grants through libxengnttab: one system call copies for a whole pass.</summary>
/// <remarks>The <see cref="XenRingAccess"/> that made this struct owns the handle and outlives the queue.</remarks>
public readonly unsafe struct XenGrants : IGrants
{
    private readonly LibXenGnttab.xengnttab_handle* _handle;

    internal XenGrants(LibXenGnttab.xengnttab_handle* handle) => _handle = handle;

    public static bool MovesData => true;

    public void Copy(GrantCopySegment* segments, int count)
    {
        if (LibXenGnttab.GrantCopy(_handle, segments, (uint)count) != 0)
            FailAll(segments, count);
    }

    /// <remarks>
    /// One call of the library per group: gntdev can unmap only the whole range that one call mapped, and groups end at
    /// different times. The library maps a group as a whole or not at all, so a bad grant fails only its own group.
    /// </remarks>
    public void Map(GrantMapping* mappings, int count)
    {
        for (GrantMapping* mapping = mappings; mapping < mappings + count; mapping++)
        {
            int protection = mapping->Writable ? Libc.PROT_READ | Libc.PROT_WRITE : Libc.PROT_READ;
            nint address = LibXenGnttab.MapDomainGrantRefs(
                _handle,
                mapping->Domain,
                new ReadOnlySpan<uint>(mapping->References, mapping->Count),
                protection
            );
            mapping->Address = address < 0 ? null : (byte*)address;
            mapping->Status = (short)(address < 0 ? GrantTable.GntstGeneralError : GrantTable.GntstOkay);
        }
    }

    public void Unmap(GrantMapping* mappings, int count)
    {
        for (GrantMapping* mapping = mappings; mapping < mappings + count; mapping++)
        {
            int result = LibXenGnttab.Unmap(_handle, mapping->Address, (uint)mapping->Count);
            mapping->Status = (short)(result < 0 ? GrantTable.GntstGeneralError : GrantTable.GntstOkay);
        }
    }

    /// <summary>
    /// If the call as a whole fails (no memory in the kernel, no page at a local address), some segments may have been
    /// copied. GNTST_okay does not show which, because Linux sets it before it copies. So all segments fail.
    /// </summary>
    private static void FailAll(GrantCopySegment* segments, int count)
    {
        for (int i = 0; i < count; i++)
            segments[i].Status = GrantTable.GntstGeneralError;
    }
}
