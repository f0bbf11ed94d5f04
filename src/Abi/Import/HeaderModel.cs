namespace Blkring.AbiTools.Import;

// What the headers say for one target. Sizes and offsets are bytes, as libclang gives them.

internal sealed record HeaderModel(
    Target Target,
    IReadOnlyList<HeaderConstant> Constants,
    IReadOnlyList<HeaderTypedef> Typedefs,
    IReadOnlyList<HeaderType> Types,
    IReadOnlyList<HeaderRing> Rings);

/// <summary>A number or a string. <paramref name="IsHex"/>: a bit or mask, as the header writes it. <paramref name="Enum"/>: of an enumerator.</summary>
internal sealed record HeaderConstant(string Name, decimal Value, string? Text, bool IsHex, string? Enum, string Header, Place At, string Doc);

/// <summary>A typedef, or a macro that stands for a type. <paramref name="Type"/>: an integer of stdint.h.</summary>
internal sealed record HeaderTypedef(string Name, string Type, string Header, string Doc);

/// <summary>
/// A struct or union. <paramref name="Path"/>: how C reaches a type without a tag: a typedef's name, or a type and its members down to
/// one of this type; empty when C has no name for it at all. <paramref name="Pack"/>: the largest alignment of a member; null where C's own rules hold.
/// </summary>
internal sealed record HeaderType(
    string Name, bool IsUnion, string? Path, int? Pack, string Header, Place At, string Doc, long Size, IReadOnlyList<HeaderMember> Members);

/// <summary>A member. <paramref name="Count"/>: a number or a constant's name; null for no array. <paramref name="IsTail"/>: a flexible array.</summary>
internal sealed record HeaderMember(
    string Name, string Path, string Type, string? Count, long Offset, long Size, bool IsTail, Place At, string Doc);

/// <summary>A DEFINE_RING_TYPES.</summary>
internal sealed record HeaderRing(string Name, string Header, string Request, string Response);

/// <summary>A machine that headers are read for. <paramref name="Abis"/>: those of a spec that have its layouts.</summary>
internal sealed record Target(string Triple, IReadOnlyList<string> Abis)
{
    public static readonly Target X86_64 = new("x86_64-linux-gnu", ["native", "x86_64"]);
    public static readonly Target X86_32 = new("i386-linux-gnu", ["x86_32"]);
    public static readonly Target Arm64 = new("aarch64-linux-gnu", ["native"]);
    public static readonly Target Arm32 = new("arm-linux-gnueabihf", ["arm"]);

    /// <summary>The first one leads: its order, names and documentation are the spec's.</summary>
    public static readonly IReadOnlyList<Target> All = [X86_64, X86_32, Arm64, Arm32];

    public bool IsArm => this == Arm64 || this == Arm32;
}
