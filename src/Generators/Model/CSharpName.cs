using System.Text;

namespace Blkring.Generators.Model;

/// <summary>The C# spelling of C names.</summary>
internal static class CSharpName
{
    /// <summary>The names of members that every C# type inherits, which a member of this name would hide.</summary>
    public static readonly IReadOnlyList<string> OfObject =
    [
        "Equals",
        "Finalize",
        "GetHashCode",
        "GetType",
        "MemberwiseClone",
        "ReferenceEquals",
        "ToString",
    ];

    /// <summary>
    /// Types that the generated code uses. A type of the protocol with such a name would be found instead.
    /// </summary>
    public static readonly IReadOnlyList<string> UsedByEmittedCode =
    [
        "ArgumentOutOfRangeException",
        "BitOperations",
        "FieldOffset",
        "FieldOffsetAttribute",
        "InlineArray",
        "InlineArrayAttribute",
        "Interlocked",
        "LayoutKind",
        "Math",
        "MethodImpl",
        "MethodImplAttribute",
        "MethodImplOptions",
        "NativeMemory",
        "StructLayout",
        "StructLayoutAttribute",
        "TAbi",
        "Unsafe",
        "Volatile",
    ];

    /// <summary>The constant of a protocol's class that tells one version of its layout from another.</summary>
    public const string LayoutFingerprint = "LayoutFingerprint";

    /// <summary>BLKIF_OP_READ of blkif becomes OpRead, because it is a member of the class Blkif.</summary>
    public static string WithoutPrefix(string cName, string protocol)
    {
        string prefix = protocol + "_";
        return Pascal(
            cName.StartsWith(prefix, StringComparison.OrdinalIgnoreCase) ? cName.Substring(prefix.Length) : cName
        );
    }

    public static string Of(CompositeSpec type, string protocol) => type.CSharp ?? WithoutPrefix(type.Name, protocol);

    public static string Of(MemberSpec member) => member.CSharp ?? Pascal(member.Name);

    public static string Of(ConstantSpec constant, string protocol) =>
        constant.CSharp ?? WithoutPrefix(constant.Name, protocol);

    /// <summary>first_sect becomes FirstSect. x86_32 becomes X86_32, because 8632 would be another number.</summary>
    public static string Pascal(string cName)
    {
        var name = new StringBuilder(cName.Length);
        foreach (string part in cName.Split(['_'], StringSplitOptions.RemoveEmptyEntries))
        {
            if (name.Length > 0 && CName.IsDigit(name[name.Length - 1]) && CName.IsDigit(part[0]))
                name.Append('_');
            name.Append(char.ToUpperInvariant(part[0]));
            // grantRef keeps its inner capital; OP becomes Op.
            bool mixed = part.Any(char.IsLower);
            name.Append(mixed ? part.Substring(1) : part.Substring(1).ToLowerInvariant());
        }
        return name.ToString();
    }

    public static bool IsIdentifier(string name) => name.Length > 0 && !CName.IsDigit(name[0]);
}
