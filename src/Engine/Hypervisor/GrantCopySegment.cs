using System.Runtime.InteropServices;

namespace Blkring.Engine.Hypervisor;

/// <summary>
/// One segment of a batched grant copy: struct xengnttab_grant_copy_segment of xengnttab.h, passed to the library
/// unchanged.
/// </summary>
/// <remarks>tests/Engine compares the layout with the C header.</remarks>
[StructLayout(LayoutKind.Explicit, Size = 24)]
public unsafe struct GrantCopySegment
{
    /// <summary>source.virt: the local address, when <see cref="Flags"/> has GNTCOPY_dest_gref.</summary>
    [FieldOffset(0)]
    public byte* SourceAddress;

    /// <summary>source.foreign: the guest's page, when <see cref="Flags"/> has GNTCOPY_source_gref.</summary>
    [FieldOffset(0)]
    public ForeignAddress SourceForeign;

    /// <summary>dest.virt</summary>
    [FieldOffset(8)]
    public byte* DestAddress;

    /// <summary>dest.foreign</summary>
    [FieldOffset(8)]
    public ForeignAddress DestForeign;

    /// <summary>len, in bytes; offset + len must not exceed the granted page.</summary>
    [FieldOffset(16)]
    public ushort LengthBytes;

    /// <summary>flags: GNTCOPY_source_gref or GNTCOPY_dest_gref.</summary>
    [FieldOffset(18)]
    public ushort Flags;

    /// <summary>status: GNTST_*, set by the copy; each segment has its own.</summary>
    [FieldOffset(20)]
    public short Status;
}

/// <summary>A place in a granted page: xengnttab_copy_ptr.foreign.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
public struct ForeignAddress
{
    /// <summary>ref</summary>
    [FieldOffset(0)]
    public uint Reference;

    /// <summary>offset, bytes within the page</summary>
    [FieldOffset(4)]
    public ushort OffsetBytes;

    /// <summary>domid: the domain that granted the page</summary>
    [FieldOffset(6)]
    public ushort Domain;
}
