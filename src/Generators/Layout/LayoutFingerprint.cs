using System.Globalization;
using System.Text;
using Blkring.Generators.Model;

namespace Blkring.Generators.Layout;

/// <summary>
/// One number for everything a reader of the bytes must know: FNV-1a (64 bits) over the names, values, offsets and
/// sizes of a protocol. Documentation, headers and C# names do not count. docs/abi.md describes the text it covers.
/// </summary>
internal static class LayoutFingerprint
{
    // FNV's own parameters for 64 bits.
    private const ulong OffsetBasis = 0xcbf29ce484222325;
    private const ulong Prime = 0x100000001b3;

    public static ulong Of(ProtocolLayout protocol)
    {
        ulong hash = OffsetBasis;
        foreach (byte value in Encoding.UTF8.GetBytes(Text(protocol)))
            hash = unchecked((hash ^ value) * Prime);
        return hash;
    }

    /// <summary>What is hashed: a line per constant, type and member, in the order of the spec.</summary>
    public static string Text(ProtocolLayout protocol)
    {
        var text = new StringBuilder();
        Line(text, $"protocol {protocol.Name}");
        foreach (ConstantSpec constant in protocol.Constants)
            Line(text, $"constant {constant.Name} {constant.Text ?? Invariant($"{constant.Value}")}");
        foreach (AbiLayout abi in protocol.Abis)
        {
            Line(text, $"abi {abi.Name}");
            foreach (TypeLayout type in abi.Types)
                Type(text, type);
        }
        return text.ToString();
    }

    private static void Type(StringBuilder text, TypeLayout type)
    {
        Line(text, $"{type.CKeyword} {type.CName} {type.Size}");
        foreach (FieldLayout field in type.Fields)
        {
            string element = field.Composite ?? (field.IsSigned ? "signed" : "unsigned");
            string count = field.IsArray ? Invariant($"[{field.Count}]") : "";
            string bits = field.IsBitField ? Invariant($" bits {field.BitOffset} {field.BitWidth}") : "";
            Line(text, $"{field.CName} {field.Offset} {element} {field.ElementSize}{count}{bits}");
        }
        if (type.Tail is { } tail)
            Line(text, $"{tail.CName} {tail.Offset} {tail.ElementSize}[]");
    }

    private static void Line(StringBuilder text, FormattableString line) => text.Append(Invariant(line)).Append('\n');

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
