namespace Blkring.Engine.Hypervisor;

/// <summary>
/// Pages of one guest that one call maps contiguously and one call unmaps: all or none.
/// </summary>
/// <remarks>
/// gntdev can unmap only the whole range that one call mapped. A request is such a group, and so are the persistent
/// grants that are first seen in the same pass.
/// </remarks>
public unsafe struct GrantMapping
{
    /// <summary>grant_ref_t, <see cref="Count"/> of them.</summary>
    public uint* References;

    /// <summary>Pages.</summary>
    public int Count;

    /// <summary>domid: the domain that granted the pages.</summary>
    public ushort Domain;

    /// <summary>False maps read-only: the guest may have granted only that.</summary>
    public bool Writable;

    /// <summary>GNTST_*, set by the call.</summary>
    public short Status;

    /// <summary>
    /// The local address of the first page: set by mapping when <see cref="Status"/> is GNTST_okay, read by unmapping.
    /// </summary>
    public byte* Address;
}
