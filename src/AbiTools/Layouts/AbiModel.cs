namespace Blkring.AbiTools.Layouts;

// A spec as plain rows with calculated offsets, for output and comparison. Sizes, offsets and alignments are in bytes.

/// <summary>One protocol in all its ABIs.</summary>
/// <param name="Header">As C includes it; empty for a format of Blkring's own, which no header describes.</param>
public sealed record AbiModel(
    string Protocol,
    string Header,
    string Doc,
    IReadOnlyList<string> Abis,
    IReadOnlyList<AbiStruct> Structs,
    IReadOnlyList<AbiConstant> Constants,
    IReadOnlyList<AbiTypedef> Typedefs,
    IReadOnlyList<AbiRing> Rings
)
{
    /// <summary>The constant LayoutFingerprint of the generated class.</summary>
    public required ulong Fingerprint { get; init; }
}

/// <summary>
/// A struct or union in one ABI. Structs are in the order of the header; each is listed in every ABI before the next.
/// </summary>
public sealed record AbiStruct(
    string Name,
    bool IsUnion,
    string Abi,
    int Size,
    int Alignment,
    string Header,
    string Doc,
    IReadOnlyList<AbiMember> Members
)
{
    /// <summary>As C writes it: <c>struct blkif_request</c>.</summary>
    public string CName => (IsUnion ? "union " : "struct ") + Name;
}

/// <summary>A member in one ABI.</summary>
/// <param name="Name">The member's own name.</param>
/// <param name="Type">C type, with the count of an array: <c>grant_ref_t[8]</c>.</param>
/// <param name="Underlying">The same with typedefs resolved: <c>uint32_t[8]</c>.</param>
/// <param name="Offset">From the start of the struct.</param>
/// <param name="Size">
/// The size of the whole member: of all elements of an array, 0 for a flexible array, which is not part of its struct,
/// and for a bit field the number of bytes in which it has bits.
/// </param>
public sealed record AbiMember(string Name, string Type, string Underlying, int Offset, int Size, string Doc)
{
    /// <summary>
    /// The first bit of a bit field, counted from the lowest bit of the byte at <see cref="Offset"/>; null for other
    /// members.
    /// </summary>
    public int? BitOffset { get; init; }

    /// <summary>The width of a bit field; null for other members.</summary>
    public int? BitWidth { get; init; }

    /// <summary>An array without a count, at the end of its struct.</summary>
    public bool IsFlexible => Type.EndsWith("[]", StringComparison.Ordinal);

    public int End => Offset + Size;

    /// <summary>From the start of the struct.</summary>
    public int FirstBit => (Offset * BitsPerByte) + (BitOffset ?? 0);

    /// <summary>Past the member, from the start of the struct.</summary>
    public int EndBit => FirstBit + (BitWidth ?? (Size * BitsPerByte));

    private const int BitsPerByte = 8;

    /// <summary>Whether the name marks the member as unused.</summary>
    public bool IsPadding =>
        Name.Trim('_') is var name
        && (
            name.StartsWith("pad", StringComparison.OrdinalIgnoreCase)
            || name.EndsWith("pad", StringComparison.OrdinalIgnoreCase)
            || name.StartsWith("reserved", StringComparison.OrdinalIgnoreCase)
            || name.StartsWith("rsvd", StringComparison.OrdinalIgnoreCase)
        );
}

/// <summary>A #define. <paramref name="Value"/>: in decimal, or a string as C writes it, in quotes.</summary>
public sealed record AbiConstant(string Name, string Value, string Header, string Doc);

/// <summary>Another name of a type. <paramref name="Underlying"/>: the type with all typedefs resolved.</summary>
public sealed record AbiTypedef(string Name, string Underlying);

/// <summary>
/// A ring: the structs of its header and messages, the other forms of its request, and its entries per ABI.
/// </summary>
public sealed record AbiRing(
    string Name,
    string Header,
    string Request,
    string Response,
    IReadOnlyList<AbiVariant> Variants,
    IReadOnlyList<AbiRingEntry> Entries
);

/// <summary>
/// Another form of a ring's request. <paramref name="When"/>: such as <c>operation = BLKIF_OP_DISCARD</c>.
/// </summary>
public sealed record AbiVariant(string Struct, string When);

/// <summary>Bytes of one ring entry in one ABI.</summary>
public sealed record AbiRingEntry(string Abi, int Size);
