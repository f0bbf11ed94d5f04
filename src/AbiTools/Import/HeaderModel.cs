namespace Blkring.AbiTools.Import;

// The headers as one target sees them. Sizes and offsets are in bytes, as libclang reports them.

internal sealed record HeaderModel(
    Target Target,
    IReadOnlyList<HeaderConstant> Constants,
    IReadOnlyList<HeaderTypedef> Typedefs,
    IReadOnlyList<HeaderType> Types,
    IReadOnlyList<HeaderRing> Rings,
    IReadOnlyList<HeaderOmission> Omissions,
    bool HasFunctionMacros
)
{
    public IReadOnlyDictionary<string, HeaderType> TypeByName { get; } = Types.ToDictionary(t => t.Name);

    private readonly Dictionary<string, HeaderTypedef> _typedefByName = Typedefs.ToDictionary(t => t.Name);

    /// <summary>The integer behind a typedef; any other type itself.</summary>
    public string Underlying(string type) =>
        _typedefByName.TryGetValue(type, out HeaderTypedef? typedef) ? typedef.Type : type;

    public HeaderModel With(IReadOnlyList<HeaderType> types) =>
        new(Target, Constants, Typedefs, types, Rings, Omissions, HasFunctionMacros);

    /// <summary>A macro may have the name of an enumerator.</summary>
    public ILookup<string, HeaderConstant> ConstantsByName { get; } = Constants.ToLookup(c => c.Name);
}

/// <summary>
/// A number or a string. <paramref name="IsHex"/>: a bit or mask, as the header writes it. <paramref name="Enum"/>: of
/// an enumerator.
/// </summary>
internal sealed record HeaderConstant(
    string Name,
    decimal Value,
    string? Text,
    bool IsHex,
    string? Enum,
    string Header,
    Place At,
    string Doc
);

/// <summary>A typedef, or a macro that stands for a type. <paramref name="Type"/>: an integer of stdint.h.</summary>
internal sealed record HeaderTypedef(string Name, string Type, string Header, string Doc);

/// <summary>
/// A struct or union. <paramref name="Path"/>: how C reaches a type without a tag: a typedef's name, or a type and its
/// members down to one of this type; empty when C has no name for it at all. <paramref name="Pack"/>: the largest
/// alignment of a member; null where C's own rules hold. <paramref name="Align"/>: the least alignment of the whole;
/// null for its members'.
/// </summary>
internal sealed record HeaderType(
    string Name,
    bool IsUnion,
    string? Path,
    int? Pack,
    int? Align,
    string Header,
    Place At,
    string Doc,
    long Size,
    int Alignment,
    IReadOnlyList<HeaderMember> Members
);

/// <summary>What a member is: <see cref="Tail"/>, a flexible array; <see cref="Skip"/>, bits without a name.</summary>
internal enum MemberKind
{
    Plain,
    Tail,
    Skip,
}

/// <summary>
/// A member. <paramref name="Count"/>: a number or a constant's name; null for no array. <paramref name="Bit"/>: where
/// it begins, from the start of its struct. <paramref name="Size"/>: of a bit field, its type's.
/// <paramref name="Bits"/>: width of a bit field; null for another member. <paramref name="Align"/>: its alignment;
/// null for its type's, at most the struct's pack.
/// </summary>
internal sealed record HeaderMember(
    string Name,
    string Path,
    string Type,
    string? Count,
    long Bit,
    long Size,
    int? Bits,
    int? Align,
    MemberKind Kind,
    Place At,
    string Doc
);

/// <summary>A struct that is left out of the spec, and why.</summary>
internal sealed record HeaderOmission(string Name, string Why);

/// <summary>A DEFINE_RING_TYPES.</summary>
internal sealed record HeaderRing(string Name, string Header, string Request, string Response);

/// <summary>
/// A machine for which headers are read. <paramref name="Abis"/>: the ABIs of a spec that have its layouts; a spec may
/// lack some of them.
/// </summary>
internal sealed record Target(string Triple, IReadOnlyList<string> Abis)
{
    public static readonly Target X86_64 = new("x86_64-linux-gnu", ["native", "x86_64"]);
    public static readonly Target X86_32 = new("i386-linux-gnu", ["x86_32"]);
    public static readonly Target Arm64 = new("aarch64-linux-gnu", ["native", "arm64"]);
    public static readonly Target Arm32 = new("arm-linux-gnueabihf", ["arm"]);

    /// <summary>The spec takes its order, names and documentation from the first target.</summary>
    public static readonly IReadOnlyList<Target> All = [X86_64, X86_32, Arm64, Arm32];

    /// <summary>Of an integer within a struct, both in bytes.</summary>
    public int AlignmentOf(long size) => this == X86_32 ? (int)Math.Min(size, sizeof(int)) : (int)size;

    public bool IsArm => this == Arm64 || this == Arm32;
}
