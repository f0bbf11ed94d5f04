namespace Blkring.Generators.Model;

// The content of a spec file: C names and unresolved types. Without positions, so that a moved line gives an equal
// model.

/// <summary>
/// One spec file: a protocol of Xen's public headers, or, with an empty <paramref name="Header"/>, a format of
/// Blkring's own.
/// </summary>
internal sealed record ProtocolSpec(
    string Name,
    string Header,
    string Doc,
    EquatableArray<AbiSpec> Abis,
    EquatableArray<ConstantSpec> Constants,
    EquatableArray<TypedefSpec> Typedefs,
    EquatableArray<CompositeSpec> Composites,
    EquatableArray<RingSpec> Rings
);

/// <summary>
/// A machine ABI. <paramref name="Align64"/>: alignment of a 64-bit integer within a struct, in bytes.
/// </summary>
internal sealed record AbiSpec(string Name, int Align64, string Doc);

/// <summary>
/// A #define or an enumerator (of <paramref name="Enum"/>): a number (a decimal holds every 64-bit value, signed or
/// not), or a string when <paramref name="Text"/> is set. <paramref name="CSharp"/>: its C# name where the usual one is
/// taken.
/// </summary>
internal sealed record ConstantSpec(
    string Name,
    decimal Value,
    string? Text,
    string? Enum,
    string? CSharp,
    string Header,
    string Doc
);

internal sealed record TypedefSpec(string Name, string Type, string Header, string Doc);

/// <summary>
/// A struct or a union. <paramref name="Path"/>: how C reaches a type without a tag, by its typedef's name, or by a
/// type's name and the members down to one of this type; null when there is a tag, empty when C has no name for it.
/// <paramref name="Pack"/>: the largest alignment of a member, <paramref name="Align"/>: the least alignment of the
/// whole, bytes; null for C's own. <paramref name="CSharp"/>: its C# name where the usual one is another's.
/// <paramref name="Parts"/>: the members, and the bits that are skipped between them. <paramref name="Tail"/>: the
/// flexible array. <paramref name="Abis"/>: those that have it; empty for all.
/// </summary>
internal sealed record CompositeSpec(
    string Name,
    bool IsUnion,
    string? Path,
    int? Pack,
    int? Align,
    EquatableArray<string> Abis,
    string? CSharp,
    string Header,
    string Doc,
    EquatableArray<MemberSpec> Parts,
    MemberSpec? Tail
)
{
    public bool IsIn(string abi) => Abis.Count == 0 || Abis.Contains(abi);

    public IEnumerable<MemberSpec> Members => Parts.Where(p => !p.IsSkip);
}

/// <summary>
/// A member. <paramref name="Path"/>: how C reaches it from its struct (the name, unless it lies in an anonymous part).
/// <paramref name="Count"/>: a number or a constant's name; null when the member is no array. <paramref name="Used"/>:
/// the member that says how many elements matter. <paramref name="Align"/>: its alignment, bytes; null for its type's.
/// <paramref name="Bits"/>: the width of a bit field. <paramref name="CSharp"/>: its C# name where the usual one is
/// another's. <paramref name="Abis"/>: empty for all.
/// </summary>
internal sealed record MemberSpec(
    string Name,
    string Path,
    string Type,
    string? Count,
    string? Used,
    int? Offset,
    int? Align,
    int? Bits,
    string? CSharp,
    EquatableArray<string> Abis,
    string Doc
)
{
    /// <summary>An unnamed bit field: bits that no member uses.</summary>
    public bool IsSkip => Name.Length == 0;

    public bool IsIn(string abi) => Abis.Count == 0 || Abis.Contains(abi);
}

/// <summary>A DEFINE_RING_TYPES: the shared ring's header and what its entries are.</summary>
internal sealed record RingSpec(
    string Name,
    string Header,
    string Request,
    string Response,
    string Doc,
    EquatableArray<VariantSpec> Variants
);

/// <summary>
/// Another form of the request, cast to when the member <paramref name="When"/> has the value <paramref name="Is"/>.
/// </summary>
internal sealed record VariantSpec(string Struct, string When, string Is);
