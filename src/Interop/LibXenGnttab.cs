using System.Runtime.InteropServices;

namespace Blkring.Interop;

/// <summary>
/// A guest's pages: libxengnttab (xengnttab.h). The library is bound at the first call, as <see cref="LibXenEvtchn"/>.
/// The calls return the library's result, or -errno. Several threads may use one handle: each call is system calls on
/// one descriptor.
/// </summary>
public static unsafe partial class LibXenGnttab
{
    const string Library = XenLibraries.GnttabLibrary;

    /// <summary>xengnttab_handle: one open file of the grant device, with the grants mapped through it.</summary>
    public readonly struct xengnttab_handle;

    [LibraryImport(Library, SetLastError = true)]
    private static partial xengnttab_handle* xengnttab_open(xentoollog_logger* logger, uint open_flags);

    [LibraryImport(Library)]
    private static partial int xengnttab_close(xengnttab_handle* xgt);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xengnttab_set_max_grants(xengnttab_handle* xgt, uint nr_grants);

    [LibraryImport(Library, SetLastError = true)]
    private static partial void* xengnttab_map_domain_grant_refs(
        xengnttab_handle* xgt,
        uint count,
        uint domid,
        uint* refs,
        int prot
    );

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xengnttab_unmap(xengnttab_handle* xgt, void* start_address, uint count);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xengnttab_grant_copy(xengnttab_handle* xgt, uint count, void* segs);

    /// <summary>xengnttab_open, close-on-exec: 0 or -errno.</summary>
    /// <exception cref="DllNotFoundException">The library is absent.</exception>
    public static int Open(out xengnttab_handle* handle)
    {
        handle = xengnttab_open(XenToolLog.Silent, 0);
        return handle != null ? 0 : -Marshal.GetLastPInvokeError();
    }

    /// <summary>
    /// xengnttab_close: call it once, whatever it returns. Linux keeps mapped pages until they are unmapped; unmap
    /// first.
    /// </summary>
    public static int Close(xengnttab_handle* handle) => xengnttab_close(handle);

    /// <summary>
    /// xengnttab_set_max_grants: 0 or -errno. Call it before the first mapping. Newer kernels have no such limit, and
    /// the call does nothing.
    /// </summary>
    public static int SetMaxGrants(xengnttab_handle* handle, uint count) =>
        Result(xengnttab_set_max_grants(handle, count));

    /// <summary>
    /// xengnttab_map_domain_grant_refs: maps pages of one domain at consecutive addresses; the address, or -errno with
    /// nothing mapped.
    /// </summary>
    /// <param name="references">grant_ref_t</param>
    /// <param name="protection">PROT_READ, PROT_WRITE of mmap(2)</param>
    public static nint MapDomainGrantRefs(
        xengnttab_handle* handle,
        ushort domain,
        ReadOnlySpan<uint> references,
        int protection
    )
    {
        // The library only reads the references, although its prototype lacks a const.
        fixed (uint* refs = references)
        {
            var address = xengnttab_map_domain_grant_refs(handle, (uint)references.Length, domain, refs, protection);
            return address != null ? (nint)address : -Marshal.GetLastPInvokeError();
        }
    }

    /// <summary>xengnttab_unmap: unmaps all that one call has mapped; 0 or -errno.</summary>
    /// <param name="count">The number of pages.</param>
    public static int Unmap(xengnttab_handle* handle, void* address, uint count) =>
        Result(xengnttab_unmap(handle, address, count));

    /// <summary>
    /// xengnttab_grant_copy: 0 if every segment has its status, or -errno if the call as a whole failed. In that case
    /// the statuses mean nothing: Linux sets GNTST_okay when it accepts a segment, and corrects it only after the copy,
    /// which may not have happened.
    /// </summary>
    /// <param name="segments">struct xengnttab_grant_copy_segment, <paramref name="count"/> of them</param>
    public static int GrantCopy(xengnttab_handle* handle, void* segments, uint count) =>
        Result(xengnttab_grant_copy(handle, count, segments));

    static int Result(int returned) => returned >= 0 ? returned : -Marshal.GetLastPInvokeError();
}
