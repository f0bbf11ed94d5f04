using System.Text;

namespace Blkring.Generators.Model;

/// <summary>How a C name is spelt in C#.</summary>
internal static class CSharpName
{
    /// <summary>Names every C# type has already: a member so named would hide it.</summary>
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
    /// Types that the generated code names: a type of the protocol so named would be found in their place.
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

    /// <summary>BLKIF_OP_READ of blkif is OpRead: the class Blkif says the rest.</summary>
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

    /// <summary>first_sect is FirstSect; x86_32 is X86_32, for 8632 would be another number.</summary>
    public static string Pascal(string cName)
    {
        var name = new StringBuilder(cName.Length);
        foreach (string part in cName.Split(['_'], StringSplitOptions.RemoveEmptyEntries))
        {
            if (name.Length > 0 && CName.IsDigit(name[name.Length - 1]) && CName.IsDigit(part[0]))
                name.Append('_');
            name.Append(char.ToUpperInvariant(part[0]));
            // grantRef keeps its inner capital; OP, all capitals, becomes Op.
            bool mixed = part.Any(char.IsLower);
            name.Append(mixed ? part.Substring(1) : part.Substring(1).ToLowerInvariant());
        }
        return name.ToString();
    }

    public static bool IsIdentifier(string name) => name.Length > 0 && !CName.IsDigit(name[0]);
}
