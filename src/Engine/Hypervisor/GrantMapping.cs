namespace Blkring.Engine.Hypervisor;

/// <summary>
/// Pages of one guest that are mapped contiguously by one call, and unmapped by one call: all of them or none.
/// </summary>
/// <remarks>
/// gntdev unmaps only the whole of what one call mapped. A request is such a group, and so are the persistent grants
/// that are first seen in the same pass.
/// </remarks>
public unsafe struct GrantMapping
{
    /// <summary>grant_ref_t, <see cref="Count"/> of them.</summary>
    public uint* References;

    /// <summary>Pages.</summary>
    public int Count;

    /// <summary>domid: the domain that granted the pages.</summary>
    public ushort Domain;

    /// <summary>False maps read-only: a guest may have granted no more than that.</summary>
    public bool Writable;

    /// <summary>GNTST_*, set by the call.</summary>
    public short Status;

    /// <summary>
    /// The local address of the first page: set by mapping when <see cref="Status"/> is GNTST_okay, read by unmapping.
    /// </summary>
    public byte* Address;
}
