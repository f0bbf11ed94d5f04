using System.Globalization;
using System.Text;
using Blkring.Generators.Layout;
using Blkring.Generators.Model;

namespace Blkring.AbiTools.Layouts;

/// <summary>
/// C declarations that have the layout of one ABI on every machine: 64-bit integers carry their alignment, and
/// assertions stop a compiler that disagrees. Names are those of the header; when several ABIs are written, the name of
/// the ABI is appended.
/// </summary>
public static class CDeclarations
{
    public static string Write(IReadOnlyList<AbiSource> sources, AbiSelection selection)
    {
        StringBuilder text = new("#include <stddef.h>\n#include <stdint.h>\n");
        HashSet<string> written = new(StringComparer.Ordinal);
        foreach (AbiSource source in sources.Where(s => selection.Of(s.Model).Any()))
        {
            AppendLine(text, $"\n/* {Origin(source.Model)} */");
            foreach (AbiLayout abi in source.Layout.Abis.Where(a => selection.HasAbi(a.Name)))
                new Writer(text, source, abi, selection.Abi is null ? "_" + abi.Name : "", written).Write(selection);
        }
        // Last, because a member may have the name of a macro.
        foreach (
            AbiModel model in sources.Select(s => s.Model).Where(m => selection.Of(m).Any() && m.Constants.Count > 0)
        )
        {
            AppendLine(text, $"\n/* {Origin(model)} */");
            foreach (AbiConstant constant in model.Constants)
                AppendLine(text, $"#define {constant.Name} {Literal(constant)}");
        }
        return text.ToString();
    }

    /// <summary>
    /// Negative numbers are in parentheses, so that the macro is safe in any expression. C has no literal for the
    /// smallest 64-bit integer.
    /// </summary>
    private static string Literal(AbiConstant constant) =>
        constant.Value switch
        {
            ['"', ..] => constant.Value,
            "-9223372036854775808" => "(-9223372036854775807LL - 1)",
            ['-', ..] => $"({constant.Value})",
            var value => decimal.Parse(value, CultureInfo.InvariantCulture) > long.MaxValue ? value + "ULL" : value,
        };

    private static string Origin(AbiModel model) =>
        model.Header.Length == 0 ? model.Protocol : $"{model.Protocol}, {model.Header}";

    private static void AppendLine(StringBuilder text, FormattableString line) =>
        text.Append(FormattableString.Invariant(line)).Append('\n');

    /// <summary>One protocol in one ABI. A name that an earlier protocol has declared is not declared again.</summary>
    private sealed class Writer(
        StringBuilder text,
        AbiSource source,
        AbiLayout abi,
        string suffix,
        HashSet<string> written
    )
    {
        private readonly TypeTable _types = new(source.Spec);
        private readonly Dictionary<string, CompositeSpec> _specs = source.Spec.Composites.ToDictionary(
            c => c.Name,
            StringComparer.Ordinal
        );

        public void Write(AbiSelection selection)
        {
            AppendLine(text, $"\n/* The ABI {abi.Name}: 64-bit integers are aligned to {abi.Align64} bytes. */");
            foreach (string name in new[] { "int64_t", "uint64_t" })
                if (written.Add(Wide(name)))
                    AppendLine(text, $"typedef {name} {Wide(name)} __attribute__((aligned({abi.Align64})));");
            foreach (TypeLayout type in Ordered(selection))
                Declare(type);
        }

        private string Wide(string scalar) => $"{scalar}_{abi.Name}";

        /// <summary>The selected structs, each after the structs inside it.</summary>
        private List<TypeLayout> Ordered(AbiSelection selection)
        {
            List<TypeLayout> ordered = [];
            foreach (TypeLayout type in abi.Types.Where(t => selection.HasStruct(t.CName)))
                Add(type);
            return ordered;

            void Add(TypeLayout type)
            {
                if (ordered.Contains(type))
                    return;
                foreach (FieldLayout field in type.Fields)
                    if (field.Composite is { } inner)
                        Add(Find(inner));
                if (type.Tail is { } tail && _types.Composite(tail.CType) is { } element)
                    Add(Find(element.Name));
                ordered.Add(type);
            }
        }

        private TypeLayout Find(string name) => abi.Types.Single(t => t.CName == name);

        private void Declare(TypeLayout type)
        {
            string name = $"{type.CKeyword} {type.CName}{suffix}";
            if (!written.Add(name))
                return;
            CompositeSpec spec = _specs[type.CName];
            // A type with bit fields or explicit alignments is packed, with every gap declared, so that the compiler's
            // own rules do not matter.
            bool isExact = spec.Align is not null || spec.Parts.Any(p => p.Bits is not null || p.Align is not null);
            int? pack = isExact ? 1 : spec.Pack;
            AppendLine(text, $"{(pack is null ? "" : $"\n#pragma pack(push, {pack})")}\n{name} {{");
            long end = 0;
            foreach (FieldLayout field in type.Fields)
            {
                if (!type.IsUnion)
                    Gap(
                        end,
                        FirstBit(field),
                        field.IsBitField ? 0
                            : isExact ? 1
                            : Math.Min(AlignmentOf(field), pack ?? int.MaxValue)
                    );
                string form =
                    field.IsBitField ? $" : {field.BitWidth}"
                    : field.IsArray ? $"[{field.Count}]"
                    : "";
                AppendLine(text, $"    {TypeOf(field.CType)} {field.CName}{form};");
                end =
                    FirstBit(field) + (field.IsBitField ? field.BitWidth : (long)field.Size * LayoutCursor.BitsPerByte);
            }
            if (type.Tail is { } tail)
                AppendLine(text, $"    {TypeOf(tail.CType)} {tail.CName}[];");
            string aligned = isExact ? $" __attribute__((aligned({type.Alignment})))" : "";
            AppendLine(text, $"}}{aligned};{(pack is null ? "" : "\n#pragma pack(pop)")}");
            Assert(name, type);
        }

        private static long FirstBit(FieldLayout field) =>
            ((long)field.Offset * LayoutCursor.BitsPerByte) + field.BitOffset;

        /// <summary>
        /// Declares a gap before a member that C's rules would not leave. <paramref name="alignment"/>: of the
        /// member, in bytes; 0 for a bit field.
        /// </summary>
        private void Gap(long end, long first, int alignment)
        {
            long endByte = LayoutCursor.RoundUp(end, LayoutCursor.BitsPerByte);
            if (
                first
                == (alignment == 0 ? end : LayoutCursor.RoundUp(endByte, (long)alignment * LayoutCursor.BitsPerByte))
            )
                return;
            if (Math.Min(first, endByte) is var wholeFrom && wholeFrom > end)
                AppendLine(text, $"    uint8_t : {wholeFrom - end};");
            if ((first - endByte) / LayoutCursor.BitsPerByte is > 0 and var bytes)
                AppendLine(text, $"    uint8_t gap_at_{endByte / LayoutCursor.BitsPerByte}[{bytes}];");
            if (first > endByte && first % LayoutCursor.BitsPerByte is > 0 and var bits)
                AppendLine(text, $"    uint8_t : {bits};");
        }

        private void Assert(string name, TypeLayout type)
        {
            AppendLine(text, $"_Static_assert(sizeof({name}) == {type.Size}, \"sizeof {name}\");");
            IEnumerable<(string Name, int Offset)> places = type
                .Fields.Where(f => !f.IsBitField)
                .Select(f => (f.CName, f.Offset));
            if (type.Tail is { } tail)
                places = places.Append((tail.CName, tail.Offset));
            foreach ((string member, int offset) in places)
                AppendLine(text, $"_Static_assert(offsetof({name}, {member}) == {offset}, \"{name}.{member}\");");
        }

        private string TypeOf(string type)
        {
            if (_types.Composite(type) is { } inner)
                return $"{Find(inner.Name).CKeyword} {inner.Name}{suffix}";
            ScalarType scalar = _types.Scalar(type)!;
            return scalar.Size == sizeof(ulong) ? Wide(scalar.Name) : scalar.Name;
        }

        private int AlignmentOf(FieldLayout field) =>
            field.Composite is { } inner ? Find(inner).Alignment
            : field.ElementSize == sizeof(ulong) ? abi.Align64
            : field.ElementSize;
    }
}
