using Blkring.Generators.Layout;

namespace Blkring.Generators.Emit;

/// <summary>A place within an entry: a constant offset in bytes, plus a term for each loop variable.</summary>
internal readonly record struct Address(int Offset, string Variable = "")
{
    public Address Plus(int bytes) => this with { Offset = Offset + bytes };

    public Address PlusEach(string index, int bytes) => this with { Variable = $"{Variable} + {index} * {bytes}" };

    /// <summary>The index of the first byte within the entry.</summary>
    public string Index => $"{Offset}{Variable}";

    public string Pointer => this == default ? "entry" : $"entry + {Index}";
}

/// <summary>Emits the copying of one field between an entry and a decoded message, down to integers.</summary>
internal abstract class FieldCodec(SourceWriter writer, ProtocolLayout protocol, MessageLayout message, string target)
{
    private readonly Dictionary<string, TypeLayout> _types = protocol.SharedTypes.ToDictionary(t => t.CName);

    protected SourceWriter Writer => writer;

    /// <summary>Copies a field of the message's own struct.</summary>
    public void Emit(FieldLayout field)
    {
        // The decoded member has the width of the widest form, which may be another form.
        MessageField decoded = message.Fields.First(f => f.Name == field.Name);
        if (decoded.IsRaw)
            Bytes(field.Size, decoded.Field.ArrayName, $"{target}.{field.Name}", new Address(field.Offset));
        else
            Field(field, target, default, depth: 0, decoded.Field.ElementName);
    }

    protected abstract void Scalar(string wire, string decoded, string access, Address address);

    protected abstract void Struct(TypeLayout type, string access, Address address, int depth);

    protected abstract void Bits(FieldLayout field, string access, Address address);

    /// <summary>Copies <paramref name="size"/> bytes of a member whose C# type is <paramref name="type"/>.</summary>
    protected abstract void Bytes(int size, string type, string access, Address address);

    /// <summary>Copies each field of a nested struct.</summary>
    protected void Members(TypeLayout type, string access, Address address, int depth)
    {
        foreach (FieldLayout field in type.Fields.OrderBy(f => f.IsArray))
            Field(field, access, address, depth, field.ElementName);
    }

    /// <summary>
    /// Divides <paramref name="size"/> bytes into the fewest integers, so that each byte is copied once.
    /// </summary>
    protected static IEnumerable<(int Offset, string Type)> Chunks(int size)
    {
        int offset = 0;
        foreach ((int width, string type) in new[] { (8, "ulong"), (4, "uint"), (2, "ushort"), (1, "byte") })
        {
            for (; size - offset >= width; offset += width)
                yield return (offset, type);
        }
    }

    private void Field(FieldLayout field, string owner, Address address, int depth, string decoded)
    {
        string access = $"{owner}.{field.Name}";
        Address at = address.Plus(field.Offset);
        if (field.IsBitField)
        {
            Bits(field, access, at);
            return;
        }
        if (!field.IsArray)
        {
            Element(field, access, at, depth, decoded);
            return;
        }
        // The nesting of types is bounded, so there are enough letters.
        string index = ((char)('i' + depth)).ToString();
        string end = $"{index}End = (int)Math.Min({owner}.{field.Used}, {field.Count}u)";
        string head = field.Used is null
            ? $"for (int {index} = 0; {index} < {field.Count}; {index}++)"
            : $"for (int {index} = 0, {end}; {index} < {index}End; {index}++)";
        writer.Block(
            head,
            () => Element(field, $"{access}[{index}]", at.PlusEach(index, field.ElementSize), depth + 1, decoded)
        );
    }

    private void Element(FieldLayout field, string access, Address address, int depth, string decoded)
    {
        if (field.Composite is null)
            Scalar(field.ElementName, decoded, access, address);
        else if (_types[field.Composite] is { IsUnion: true } union)
            Bytes(union.Size, union.Name, access, address);
        else
            Struct(_types[field.Composite], access, address, depth);
    }
}

/// <summary>Entry to message: one load for each field.</summary>
internal sealed class FieldReader(SourceWriter writer, ProtocolLayout protocol, MessageLayout message, string target)
    : FieldCodec(writer, protocol, message, target)
{
    public static string Load(string type, Address address) =>
        type == "byte" ? $"entry[{address.Index}]" : $"Unsafe.ReadUnaligned<{type}>({address.Pointer})";

    protected override void Scalar(string wire, string decoded, string access, Address address) =>
        Writer.Line($"{access} = {Load(wire, address)};");

    // Each bit field of a byte loads the byte, but no bit is used from two loads.
    protected override void Bits(FieldLayout field, string access, Address address) =>
        Writer.Line($"{access} = {BitCode.Get(field, at => $"entry[{address.Plus(at).Index}]")};");

    protected override void Struct(TypeLayout type, string access, Address address, int depth)
    {
        // A struct of the size of a register needs one load.
        if (type.Size is 1 or 2 or 4 or 8)
            Writer.Line($"{access} = {Load(type.Name, address)};");
        else
            Members(type, access, address, depth);
    }

    // Only the receiver of the message knows which member of a union is valid, so all its bytes are copied.
    protected override void Bytes(int size, string type, string access, Address address)
    {
        foreach ((int offset, string chunk) in Chunks(size))
        {
            string target = $"ref Unsafe.AddByteOffset(ref Unsafe.As<{type}, byte>(ref {access}), {offset})";
            Writer.Line($"Unsafe.WriteUnaligned({target}, {Load(chunk, address.Plus(offset))});");
        }
    }
}

/// <summary>Message to entry: one store for each field, none for padding.</summary>
internal sealed class FieldWriter(SourceWriter writer, ProtocolLayout protocol, MessageLayout message, string target)
    : FieldCodec(writer, protocol, message, target)
{
    protected override void Scalar(string wire, string decoded, string access, Address address) =>
        Store(address, wire, wire == decoded ? access : $"unchecked(({wire}){access})");

    protected override void Bits(FieldLayout field, string access, Address address)
    {
        foreach (string line in BitCode.Set(field, at => $"entry[{address.Plus(at).Index}]", access))
            Writer.Line(line);
    }

    protected override void Struct(TypeLayout type, string access, Address address, int depth) =>
        Members(type, access, address, depth);

    protected override void Bytes(int size, string type, string access, Address address)
    {
        foreach ((int offset, string chunk) in Chunks(size))
        {
            string first = $"ref Unsafe.As<{type}, byte>(ref Unsafe.AsRef(in {access}))";
            Store(
                address.Plus(offset),
                chunk,
                $"Unsafe.ReadUnaligned<{chunk}>(ref Unsafe.AddByteOffset({first}, {offset}))"
            );
        }
    }

    private void Store(Address address, string type, string value) =>
        Writer.Line(
            type == "byte"
                ? $"entry[{address.Index}] = {value};"
                : $"Unsafe.WriteUnaligned({address.Pointer}, {value});"
        );
}
