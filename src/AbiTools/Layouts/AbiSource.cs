using System.Globalization;
using System.Reflection;
using Blkring.AbiTools.Import;
using Blkring.Generators.Layout;
using Blkring.Generators.Model;

namespace Blkring.AbiTools.Layouts;

/// <summary>A spec that was read and laid out. All output of the tools is made from it.</summary>
public sealed class AbiSource
{
    private const string ResourceFolder = "abi/";

    /// <summary>The start of the comment at the top of an imported spec.</summary>
    private const string ImportMark = "Written by blkring abi import from ";
    private const string ImportMarkEnd = ": import again";

    private AbiSource(LaidOutSpec spec, string text)
    {
        Headers = HeadersOf(text);
        (Spec, Layout) = spec;
        Model = ToModel(spec);
    }

    internal ProtocolSpec Spec { get; }

    internal ProtocolLayout Layout { get; }

    public AbiModel Model { get; }

    /// <summary>
    /// The headers, as C includes them, from which an import wrote the spec. Empty for a spec that was written by hand
    /// and may be incomplete.
    /// </summary>
    public IReadOnlyList<string> Headers { get; }

    /// <summary>Describes a format of Blkring's own: there is no header to compare it with.</summary>
    public bool IsOwn => Spec.Header.Length == 0;

    /// <exception cref="SpecException">The file cannot be read, or the spec is wrong.</exception>
    public static AbiSource Read(string path) => Parse(path, SpecFile.ReadText(path));

    /// <param name="path">The path that messages show.</param>
    /// <exception cref="SpecException">The spec is wrong.</exception>
    public static AbiSource Parse(string path, string text) => new(SpecFile.Parse(path, text), text);

    private static string[] HeadersOf(string text)
    {
        int mark = text.IndexOf(ImportMark, StringComparison.Ordinal);
        int end = mark < 0 ? -1 : text.IndexOf(ImportMarkEnd, mark, StringComparison.Ordinal);
        return end < 0 ? [] : text[(mark + ImportMark.Length)..end].Split(", ");
    }

    /// <summary>One protocol as headers define it, for comparison.</summary>
    /// <param name="headers">Paths; the first is the protocol's own.</param>
    /// <param name="name">The protocol's name; null for that of the first header.</param>
    /// <exception cref="HeaderImportException">
    /// The header does not compile, or contains something that a spec cannot express.
    /// </exception>
    /// <exception cref="LibClangMissingException">libclang is not installed.</exception>
    public static AbiModel Import(IReadOnlyList<string> headers, string? name)
    {
        ImportOptions options = new()
        {
            Headers = headers,
            Name = name,
            IsForComparison = true,
        };
        return ToModel(HeaderImport.Run(options).Spec);
    }

    /// <summary>The specs of abi/ that this build was made from, by name.</summary>
    public static IReadOnlyList<AbiSource> Shipped() =>
        [
            .. typeof(AbiSource)
                .Assembly.GetManifestResourceNames()
                .Where(name => name.StartsWith(ResourceFolder, StringComparison.Ordinal))
                .Order(StringComparer.Ordinal)
                .Select(name => Parse(name, ReadResource(name))),
        ];

    private static string ReadResource(string name)
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(name)!;
        using StreamReader reader = new(stream);
        return reader.ReadToEnd();
    }

    private static AbiModel ToModel(LaidOutSpec source)
    {
        (ProtocolSpec spec, ProtocolLayout layout) = source;
        TypeTable types = new(spec);
        return new AbiModel(
            spec.Name,
            spec.Header,
            spec.Doc,
            [.. layout.Abis.Select(abi => abi.Name)],
            [.. StructsOf(spec, layout, types)],
            [.. spec.Constants.Select(c => new AbiConstant(c.Name, ValueOf(c), c.Header, c.Doc))],
            [.. spec.Typedefs.Select(t => new AbiTypedef(t.Name, Underlying(t.Name, types)))],
            [.. spec.Rings.Select(ring => ToRing(ring, layout))]
        )
        {
            Fingerprint = LayoutFingerprint.Of(layout),
        };
    }

    private static IEnumerable<AbiStruct> StructsOf(ProtocolSpec spec, ProtocolLayout layout, TypeTable types)
    {
        ILookup<string, AbiStruct> byName = layout
            .Abis.SelectMany(abi => abi.Types.Select(type => ToStruct(type, abi.Name, types)))
            .ToLookup(type => type.Name, StringComparer.Ordinal);
        return spec.Composites.SelectMany(c => byName[c.Name]);
    }

    private static AbiStruct ToStruct(TypeLayout type, string abi, TypeTable types) =>
        new(
            type.CName,
            type.IsUnion,
            abi,
            type.Size,
            type.Alignment,
            type.Header,
            type.Doc,
            [
                .. type.Fields.Select(f => ToMember(f, types)),
                .. type.Tail is { } tail ? [ToMember(tail, types)] : Array.Empty<AbiMember>(),
            ]
        );

    private static AbiMember ToMember(FieldLayout field, TypeTable types)
    {
        string count = field.IsArray ? string.Create(CultureInfo.InvariantCulture, $"[{field.Count}]") : "";
        return new AbiMember(
            field.CName,
            CTypeOf(field.CType, types) + count,
            Underlying(field.CType, types) + count,
            field.Offset,
            field.Size,
            field.Doc
        )
        {
            BitOffset = field.IsBitField ? field.BitOffset : null,
            BitWidth = field.IsBitField ? field.BitWidth : null,
        };
    }

    /// <summary>A flexible array has an offset and no size.</summary>
    private static AbiMember ToMember(TailLayout tail, TypeTable types) =>
        new(
            tail.CName,
            CTypeOf(tail.CType, types) + "[]",
            Underlying(tail.CType, types) + "[]",
            tail.Offset,
            Size: 0,
            tail.Doc
        );

    /// <summary>A type that is spelt as its own tag needs the keyword in C; a typedef of it does not.</summary>
    private static string CTypeOf(string type, TypeTable types) =>
        types.Composite(type)?.Name == type ? Underlying(type, types) : type;

    private static string Underlying(string type, TypeTable types) =>
        types.Composite(type) is { } composite ? CKeyword(composite) + composite.Name : types.Scalar(type)!.Name;

    private static string CKeyword(CompositeSpec composite) => composite.IsUnion ? "union " : "struct ";

    private static string ValueOf(ConstantSpec constant) =>
        constant.Text is null ? constant.Value.ToString(CultureInfo.InvariantCulture) : $"\"{InC(constant.Text)}\"";

    private static string InC(string text) =>
        text.Replace("\\", "\\\\", StringComparison.Ordinal)
            .Replace("\"", "\\\"", StringComparison.Ordinal)
            .Replace("\n", "\\n", StringComparison.Ordinal)
            .Replace("\r", "\\r", StringComparison.Ordinal)
            .Replace("\t", "\\t", StringComparison.Ordinal);

    private static AbiRing ToRing(RingSpec ring, ProtocolLayout layout) =>
        new(
            ring.Name,
            ring.Header,
            ring.Request,
            ring.Response,
            [.. ring.Variants.Select(v => new AbiVariant(v.Struct, $"{v.When} = {v.Is}"))],
            [.. layout.Abis.Select(abi => new AbiRingEntry(abi.Name, RingCalculator.EntrySize(ring, abi)))]
        );
}
