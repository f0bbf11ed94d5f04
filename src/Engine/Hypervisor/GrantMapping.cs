namespace Blkring.Engine.Hypervisor;

/// <summary>
/// Pages of one guest that are mapped one after the other, together, and unmapped together: all of them or none.
/// </summary>
/// <remarks>
/// As gntdev has it: what one call mapped is unmapped by one call, whole. A request is such a group, and so are
/// persistent grants that are seen first in the same pass.
/// </remarks>
public unsafe struct GrantMapping
{
    /// <summary>grant_ref_t, <see cref="Count"/> of them.</summary>
    public uint* References;

    /// <summary>Pages.</summary>
    public int Count;

    /// <summary>domid: the domain that granted the pages.</summary>
    public ushort Domain;

    /// <summary>False maps read-only, which a guest may have granted no more than.</summary>
    public bool Writable;

    /// <summary>GNTST_*, set by the call.</summary>
    public short Status;

    /// <summary>Of the first page; set by mapping when <see cref="Status"/> is okay, taken by unmapping.</summary>
    public byte* Address;
}
