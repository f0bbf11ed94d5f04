using Blkring.Generators.Model;

namespace Blkring.Generators.Layout;

// A spec with all offsets and C# names: everything that the emitters need. Sizes and offsets are in bytes.

internal sealed record ProtocolLayout(
    string Name,
    string ClassName,
    string Header,
    string Doc,
    EquatableArray<ConstantSpec> Constants,
    EquatableArray<AbiLayout> Abis,
    EquatableArray<RingLayout> Rings
)
{
    /// <summary>Types that every ABI lays out alike. The list of every ABI contains them.</summary>
    public IEnumerable<TypeLayout> SharedTypes => Abis[0].Types.Where(t => t.IsShared);

    /// <summary>ABIs need tags if a ring or a layout depends on the ABI.</summary>
    public bool HasTags => Rings.Count > 0 || Abis.Any(a => a.Types.Any(t => !t.IsShared));
}

/// <summary>One ABI, with the types that it has in the order of the spec.</summary>
internal sealed record AbiLayout(string Name, string Tag, int Align64, string Doc, EquatableArray<TypeLayout> Types);

/// <summary>
/// A struct or union in one ABI. <paramref name="IsShared"/>: every ABI lays it out alike. <paramref name="CType"/>:
/// the type as C writes it. <paramref name="Tail"/>: the flexible array that follows, which is no part of the size.
/// </summary>
internal sealed record TypeLayout(
    string CName,
    string Name,
    bool IsUnion,
    bool IsShared,
    int Size,
    int Alignment,
    string Header,
    string Doc,
    EquatableArray<FieldLayout> Fields,
    string CType,
    TailLayout? Tail
)
{
    public string CKeyword => IsUnion ? "union" : "struct";
}

/// <summary>
/// A flexible array: where it begins and what its elements are. <paramref name="Name"/>: C# name of the offset.
/// </summary>
internal sealed record TailLayout(string CName, string Name, string CType, int Offset, int ElementSize, string Doc);

/// <summary>
/// A member in one ABI. <paramref name="ElementName"/> is the C# type of the member, or of its elements when it is an
/// array of <paramref name="Count"/> (0: no array) held by the inline array <paramref name="ArrayName"/>.
/// <paramref name="Used"/>: C# name of the member that counts it. <paramref name="Composite"/>: C name of the element's
/// struct or union; null for an integer. <paramref name="IsInEveryAbi"/>: part of the decoded message, which knows no
/// ABI. <paramref name="BitOffset"/>: from the lowest bit of the byte at <paramref name="Offset"/>;
/// <paramref name="BitWidth"/>: of a bit field, 0 of another member.
/// </summary>
internal sealed record FieldLayout(
    string CName,
    string Name,
    string CPath,
    string CType,
    string? Composite,
    string ElementName,
    bool IsSigned,
    int Offset,
    int ElementSize,
    int Count,
    string ArrayName,
    string? Used,
    bool IsInEveryAbi,
    string Doc,
    int BitOffset,
    int BitWidth
)
{
    public bool IsArray => Count > 0;

    public bool IsBitField => BitWidth > 0;

    /// <summary>For a bit field, the bytes in which it has bits: maybe more or fewer than those of its type.</summary>
    public int Size => IsBitField ? (BitOffset + BitWidth + 7) / 8 : ElementSize * Math.Max(Count, 1);

    /// <summary>The offset of the first byte after the member.</summary>
    public int End => Offset + Size;

    /// <summary>C# type of the field.</summary>
    public string TypeName => IsArray ? ArrayName : ElementName;
}

/// <summary>
/// A ring: how both sides see its messages (<see cref="Request"/>, <see cref="Response"/>) and how each ABI lays them
/// out.
/// </summary>
internal sealed record RingLayout(
    string CName,
    string Prefix,
    string Doc,
    TypeLayout Header,
    MessageLayout Request,
    MessageLayout Response,
    EquatableArray<RingAbiLayout> Abis
);

/// <summary>A message without an ABI: its members by name, from all its forms.</summary>
internal sealed record MessageLayout(EquatableArray<MessageField> Fields);

/// <summary>
/// A member of a decoded message, in its widest form. <paramref name="IsRaw"/>: a union that ABIs lay out differently;
/// the message has its bytes, in the array <see cref="FieldLayout.ArrayName"/> of its own.
/// </summary>
internal sealed record MessageField(FieldLayout Field, string CStructs, bool IsRaw)
{
    public string Name => Field.Name;
}

/// <summary>
/// A ring's entries in one ABI. <paramref name="EntrySize"/>: sizeof the union of request and response, bytes.
/// </summary>
internal sealed record RingAbiLayout(
    string AbiName,
    string Tag,
    int EntrySize,
    TypeLayout Request,
    EquatableArray<VariantLayout> Variants,
    TypeLayout Response
)
{
    /// <summary>The member that tells the request's forms apart; null when there is one form only.</summary>
    public FieldLayout? RequestTag =>
        Variants.Count == 0 ? null : Request.Fields.First(f => f.CName == Variants[0].When);
}

/// <summary>A form of the request. <paramref name="Is"/>: C# expression of the tag's value.</summary>
internal sealed record VariantLayout(string When, string Is, TypeLayout Type);
