using Blkring.Generators.Layout;

namespace Blkring.Generators.Emit;

/// <summary>Structs, unions and the inline arrays inside them.</summary>
internal static class StructEmitter
{
    // The runtime aligns no field to more.
    private const int LargestPack = 8;

    /// <summary>The types that every ABI lays out alike, once.</summary>
    public static void EmitShared(SourceWriter writer, ProtocolLayout protocol)
    {
        var parts = new List<Action>();
        foreach (TypeLayout type in protocol.SharedTypes)
            parts.Add(() => Type(writer, type, "every ABI"));
        // An array of integers or of a shared struct is the same type in every ABI.
        foreach ((TypeLayout owner, FieldLayout array) in Arrays(protocol.Abis).Where(a => IsShared(protocol, a.Field)))
            parts.Add(() => Array(writer, owner, array));
        writer.Separated(parts, part => part());
    }

    /// <summary>The tag of an ABI and, inside it, the types whose layout is specific to this ABI.</summary>
    public static void EmitTag(SourceWriter writer, ProtocolLayout protocol, AbiLayout abi)
    {
        var parts = new List<Action>();
        foreach (TypeLayout type in abi.Types.Where(t => !t.IsShared))
            parts.Add(() => Type(writer, type, abi.Name));
        foreach ((TypeLayout owner, FieldLayout array) in Arrays([abi]).Where(a => !IsShared(protocol, a.Field)))
            parts.Add(() => Array(writer, owner, array));

        string what = $"The ABI {abi.Name}, for code that is generic in it";
        writer.Summary(SourceWriter.Doc($"{what}: 64-bit integers are aligned to {abi.Align64} bytes", abi.Doc));
        writer.Block($"public readonly partial struct {abi.Tag}", () => writer.Separated(parts, part => part()));
    }

    private static void Type(SourceWriter writer, TypeLayout type, string abi)
    {
        string what = type.CType.Length == 0 ? $"A {type.CKeyword} without a name" : type.CType;
        writer.Summary(SourceWriter.Doc(SourceWriter.From(what, type.Header), type.Doc));
        writer.Line($"/// <remarks>In {abi}: {Bytes(type.Size)}.</remarks>");
        // Pack is the type's alignment in C. Without it the runtime would round the size up to its own alignment.
        writer.Line(
            $"[StructLayout(LayoutKind.Explicit, Size = {type.Size}, Pack = {Math.Min(type.Alignment, LargestPack)})]"
        );
        writer.Block(
            $"public struct {type.Name}",
            () =>
            {
                writer.Separated(type.Fields, field => Field(writer, field));
                foreach (
                    int offset in type
                        .Fields.Where(f => f.IsBitField)
                        .SelectMany(f => Enumerable.Range(f.Offset, f.Size))
                        .Distinct()
                )
                {
                    writer.Line();
                    writer.Line($"[FieldOffset({offset})]");
                    writer.Line($"private byte {ByteAt(offset)};");
                }
                if (type.Tail is { } tail)
                {
                    writer.Line();
                    string elements = $"elements of {Bytes(tail.ElementSize)}, as many as the memory holds";
                    writer.Summary(
                        SourceWriter.Doc($"Where {tail.CType} {tail.CName}[] begins, bytes: {elements}", tail.Doc)
                    );
                    writer.Line($"public static int {tail.Name} => {tail.Offset};");
                }
            }
        );
    }

    private static void Field(SourceWriter writer, FieldLayout field)
    {
        string what = $"{field.CType} {field.CPath}";
        if (!field.IsBitField)
        {
            string count = field.IsArray ? $"[{field.Count}]" : "";
            writer.Summary(SourceWriter.Doc($"{what}{count}, {Bytes(field.Size)} at {field.Offset}", field.Doc));
            writer.Line($"[FieldOffset({field.Offset})]");
            writer.Line($"public {field.TypeName} {field.Name};");
            return;
        }
        string place = $"{what} : {field.BitWidth}, from bit {field.BitOffset} of byte {field.Offset}";
        writer.Summary(SourceWriter.Doc($"{place}. Setting it drops a value's higher bits", field.Doc));
        writer.Block(
            $"public {field.TypeName} {field.Name}",
            () =>
            {
                writer.Line($"readonly get => {BitCode.Get(field, at => ByteAt(field.Offset + at))};");
                writer.Block(
                    "set",
                    () =>
                    {
                        foreach (string line in BitCode.Set(field, at => ByteAt(field.Offset + at), "value"))
                            writer.Line(line);
                    }
                );
            }
        );
    }

    private static string ByteAt(int offset) => $"_byte{offset}";

    private static void Array(SourceWriter writer, TypeLayout owner, FieldLayout array)
    {
        writer.Summary($"The {array.Count} elements of {owner.CName}.{array.CPath}, {Bytes(array.ElementSize)} each.");
        writer.Line($"[InlineArray({array.Count})]");
        writer.Block(
            $"public struct {array.ArrayName}",
            () =>
            {
                writer.Line($"private {array.ElementName} _element0;");
            }
        );
    }

    private static string Bytes(int count) => count == 1 ? "1 byte" : $"{count} bytes";

    /// <summary>Each array once, although most are in several ABIs.</summary>
    private static IEnumerable<(TypeLayout Owner, FieldLayout Field)> Arrays(IEnumerable<AbiLayout> abis)
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        return abis.SelectMany(abi => abi.Types)
            .SelectMany(type => type.Fields.Where(f => f.IsArray).Select(field => (type, field)))
            .Where(a => seen.Add(a.field.ArrayName));
    }

    private static bool IsShared(ProtocolLayout protocol, FieldLayout array) =>
        array.Composite is null || protocol.SharedTypes.Any(t => t.CName == array.Composite);
}
