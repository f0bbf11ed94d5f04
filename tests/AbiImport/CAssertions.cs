using System.Globalization;
using System.Text;
using Blkring.AbiTools;
using Blkring.AbiTools.Import;
using Blkring.Generators.Layout;
using Blkring.Generators.Model;

namespace Blkring.AbiImport.Tests;

/// <summary>A layout as C source that a compiler refuses where its own differs.</summary>
internal static class CAssertions
{
    /// <summary>The ABI of a spec that a target has.</summary>
    public static AbiLayout AbiOf(ProtocolLayout layout, string triple)
    {
        IReadOnlyList<string> names = Target.All.Single(t => t.Triple == triple).Abis;
        // 32-bit Arm has the host's, where it has none of its own.
        return layout.Abis.LastOrDefault(abi => names.Contains(abi.Name))
            ?? layout.Abis.Single(abi => abi.Name == "native");
    }

    /// <summary>
    /// An assertion for each size, alignment and offset; <paramref name="grow"/> is added to each, to see them fail.
    /// <paramref name="before"/>: what the header needs.
    /// </summary>
    public static string Of(ProtocolSpec spec, AbiLayout abi, int grow = 0, string before = "")
    {
        var c = new StringBuilder();
        c.Append(
            CultureInfo.InvariantCulture,
            $"#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n{before}#include <{spec.Header}>\n"
        );
        foreach (TypeLayout type in abi.Types.Where(t => t.CType.Length > 0))
        {
            // In C a shared ring's struct ends with its first entry; the spec's ends where that begins.
            bool isRingHeader = spec.Rings.Any(r => r.Header == type.CName);
            Assertion(isRingHeader ? $"__builtin_offsetof({type.CType}, ring)" : $"sizeof({type.CType})", type.Size);
            if (!isRingHeader)
                Assertion($"_Alignof({type.CType})", type.Alignment);
            foreach (FieldLayout field in type.Fields.Where(f => !f.IsBitField))
            {
                Assertion($"__builtin_offsetof({type.CType}, {field.CPath})", field.Offset);
                if (!IsUnnamed(field, abi))
                    Assertion($"sizeof((({type.CType} *)0)->{field.CPath})", field.Size);
            }
            if (type.Tail is { } tail)
                Assertion($"__builtin_offsetof({type.CType}, {tail.CName})", tail.Offset);
        }
        return c.ToString();

        void Assertion(string what, int value) =>
            c.Append(CultureInfo.InvariantCulture, $"_Static_assert({what} == {value + grow}, \"{what}\");\n");
    }

    /// <summary>A part without a name begins where its first member does, and has no size to ask for.</summary>
    private static bool IsUnnamed(FieldLayout field, AbiLayout abi) =>
        field.Composite is { } name && abi.Types.Single(t => t.CName == name).CType.Length == 0;
}
