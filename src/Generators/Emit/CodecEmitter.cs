using Blkring.Generators.Layout;
using Blkring.Generators.Model;

namespace Blkring.Generators.Emit;

/// <summary>
/// Emits the code that reads and writes a ring's entries in one ABI. Offsets are literals, so that the JIT folds them
/// into its loads and stores.
/// </summary>
internal static class CodecEmitter
{
    private const string Inline = "[MethodImpl(MethodImplOptions.AggressiveInlining)]";

    public static void Emit(SourceWriter writer, ProtocolLayout protocol, RingLayout ring, RingAbiLayout abi)
    {
        string codec = RingNames.Interface(ring.Prefix);
        writer.Lines(
            """
            // The other side can change an entry at any time, so each wire field is loaded once, into memory of our
            // own. The .NET memory model (docs/design/specs/Memory-model.md of dotnet/runtime) lets no compiler
            // introduce a read. The loads and stores are the unaligned ones because an ABI may align a 64-bit field to
            // 4 bytes.
            """
        );
        writer.Block(
            $"public readonly partial struct {abi.Tag} : {codec}",
            () =>
            {
                writer.Line($"static string {codec}.AbiName => \"{abi.AbiName}\";");
                writer.Line();
                writer.Line($"static int {codec}.EntrySize => {abi.EntrySize};");
                writer.Line();
                Method(
                    writer,
                    $"{codec}.ReadRequest(byte* entry, ref {RingNames.Request(ring.Prefix)} request)",
                    () => ReadRequest(writer, protocol, ring, abi)
                );
                writer.Line();
                Method(
                    writer,
                    $"{codec}.WriteRequest(byte* entry, in {RingNames.Request(ring.Prefix)} request)",
                    () => WriteRequest(writer, protocol, ring, abi)
                );
                writer.Line();
                Method(
                    writer,
                    $"{codec}.ReadResponse(byte* entry, ref {RingNames.Response(ring.Prefix)} response)",
                    () => Form(abi.Response, new FieldReader(writer, protocol, ring.Response, "response"))
                );
                writer.Line();
                Method(
                    writer,
                    $"{codec}.WriteResponse(byte* entry, in {RingNames.Response(ring.Prefix)} response)",
                    () => Form(abi.Response, new FieldWriter(writer, protocol, ring.Response, "response"))
                );
            }
        );
    }

    private static void Method(SourceWriter writer, string signature, Action body)
    {
        writer.Line(Inline);
        writer.Block($"static void {signature}", body);
    }

    private static void ReadRequest(SourceWriter writer, ProtocolLayout protocol, RingLayout ring, RingAbiLayout abi)
    {
        var fields = new FieldReader(writer, protocol, ring.Request, "request");
        if (abi.RequestTag is not { } tag)
        {
            Form(abi.Request, fields);
            return;
        }
        // The tag decides the meaning of the rest. It is loaded once, so that both uses see the same value.
        writer.Line($"{tag.ElementName} tag = {FieldReader.Load(tag.ElementName, new Address(tag.Offset))};");
        writer.Line($"request.{tag.Name} = tag;");
        Forms(writer, abi, "tag", type => Form(type, fields, except: tag.CName));
    }

    private static void WriteRequest(SourceWriter writer, ProtocolLayout protocol, RingLayout ring, RingAbiLayout abi)
    {
        var fields = new FieldWriter(writer, protocol, ring.Request, "request");
        if (abi.RequestTag is { } tag)
            Forms(writer, abi, $"request.{tag.Name}", type => Form(type, fields));
        else
            Form(abi.Request, fields);
    }

    private static void Forms(SourceWriter writer, RingAbiLayout abi, string tag, Action<TypeLayout> form) =>
        writer.Block(
            $"switch ({tag})",
            () =>
            {
                foreach (VariantLayout variant in abi.Variants)
                    Case($"case {variant.Is}:", variant.Type);
                Case("default:", abi.Request);

                void Case(string label, TypeLayout type)
                {
                    writer.Line($"{label} // struct {type.CName}");
                    writer.Indent(() =>
                    {
                        form(type);
                        writer.Line("break;");
                    });
                }
            }
        );

    /// <summary>The fields of a form. Arrays come last, because another field may count their elements.</summary>
    private static void Form(TypeLayout type, FieldCodec fields, string? except = null)
    {
        foreach (
            FieldLayout field in type.Fields.Where(f => f.IsInEveryAbi && f.CName != except).OrderBy(f => f.IsArray)
        )
            fields.Emit(field);
    }
}
