using System.Globalization;
using System.Security;
using System.Text;

namespace Blkring.AbiTools.Import;

/// <summary>
/// Writes the text of a spec. The same headers give the same bytes, so version control shows what moved.
/// </summary>
internal sealed class SpecWriter
{
    private const string BigAlign = "8";
    private const string SmallAlign = "4";

    private readonly StringBuilder _text = new();
    private readonly MergedHeaders _headers;
    private readonly Hints _hints;
    private readonly string _header;
    private readonly IReadOnlyDictionary<string, string> _renamed;

    private SpecWriter(string header, MergedHeaders headers, Hints hints, IReadOnlyDictionary<string, string> renamed)
    {
        _header = header;
        _headers = headers;
        _hints = hints;
        _renamed = renamed;
    }

    /// <summary>The key of a type in renames: in C, a type and a constant may have the same name.</summary>
    public static string KeyOfType(string name) => "struct " + name;

    /// <summary>The key of a member in renames.</summary>
    public static string KeyOfMember(string type, string member) => $"{type}.{member}";

    /// <param name="renamed">
    /// The C# names of constants, types (<see cref="KeyOfType"/>) and members (<see cref="KeyOfMember"/>) whose usual
    /// C# name is taken.
    /// </param>
    public static string Write(
        string name,
        IReadOnlyList<string> headerNames,
        string doc,
        IEnumerable<string> copyright,
        MergedHeaders headers,
        Hints hints,
        IReadOnlyDictionary<string, string> renamed
    )
    {
        var writer = new SpecWriter(headerNames[0], headers, hints, renamed);
        writer.Head(headerNames, copyright);
        writer._text.Append(CultureInfo.InvariantCulture, $"<protocol name=\"{name}\" header=\"{headerNames[0]}\">\n");
        if (doc.Length > 0)
            writer.Line(1, Escape(doc));
        writer.Abis();
        writer.Section(headers.Constants, writer.Constant);
        writer.Section(
            headers.Typedefs,
            t =>
                writer.Element(
                    1,
                    "typedef",
                    Attributes(("name", t.Name), ("type", t.Type), ("header", writer.OtherHeader(t.Header))),
                    writer.Doc(t.Name, t.Doc)
                )
        );
        foreach (MergedType type in headers.Types)
            writer.Type(type);
        writer.Section(headers.Rings, writer.Ring);
        writer._text.Append("</protocol>\n");
        return writer._text.ToString();
    }

    private void Head(IReadOnlyList<string> headerNames, IEnumerable<string> copyright)
    {
        _text.Append("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!--\n");
        Line(1, $"Written by blkring abi import from {string.Join(", ", headerNames)}: import again, do not edit.");
        Line(1, "Names and most documentation are those of Xen's public headers, under the MIT license.");
        foreach (string line in copyright)
            Line(1, CommentSafe(line));
        foreach ((string name, string why) in _hints.LeftOut)
            Line(1, CommentSafe($"Left out: {name}, {why}."));
        if (_hints.WhyNotAllTypes is { } types)
            Line(1, CommentSafe($"Left out: {types}."));
        foreach (HeaderOmission type in _headers.Omissions)
            Line(1, CommentSafe($"Left out: {type.Name}, {type.Why}."));
        if (_headers.Valueless.Count > 0)
            Line(1, $"Left out, for their values differ by target: {string.Join(", ", _headers.Valueless)}.");
        _text.Append("-->\n");
    }

    private void Abis()
    {
        _text.Append('\n');
        foreach (string abi in _headers.Abis)
        {
            (string align, string doc) = abi switch
            {
                "native" => (
                    BigAlign,
                    "The ABI of a 64-bit host. A frontend that writes no protocol node uses the ABI it was built for."
                ),
                "x86_32" => (SmallAlign, "32-bit x86: a 64-bit integer needs only 4-byte alignment."),
                "x86_64" => (BigAlign, "64-bit x86."),
                "arm" => (BigAlign, "32-bit Arm, where it differs from a 64-bit host."),
                "arm64" => (BigAlign, "64-bit Arm, where it differs from 64-bit x86."),
                _ => throw new InvalidOperationException($"The ABI {abi} has no words."),
            };
            Element(1, "abi", Attributes(("name", abi), ("align-64", align)), doc);
        }
    }

    private void Section<T>(IReadOnlyList<T> items, Action<T> write)
    {
        if (items.Count > 0)
            _text.Append('\n');
        foreach (T item in items)
            write(item);
    }

    private void Constant(HeaderConstant c)
    {
        string value = c.IsHex
            ? "0x" + ((ulong)c.Value).ToString("x", CultureInfo.InvariantCulture)
            : c.Value.ToString(CultureInfo.InvariantCulture);
        Element(
            1,
            "constant",
            Attributes(
                ("name", c.Name),
                ("value", c.Text is null ? value : null),
                ("string", c.Text),
                ("enum", c.Enum is "" ? null : c.Enum),
                ("csharp", _renamed.GetValueOrDefault(c.Name)),
                ("header", OtherHeader(c.Header))
            ),
            Doc(c.Name, c.Doc)
        );
    }

    private void Type(MergedType merged)
    {
        HeaderType type = merged.Type;
        string element = type.IsUnion ? "union" : "struct";
        string attributes = Attributes(
            ("name", type.Name),
            ("path", type.Path is "" ? null : type.Path),
            ("unnamed", type.Path is "" ? "true" : null),
            ("pack", Number(type.Pack)),
            ("align", Number(type.Align)),
            ("abi", Abis(merged.Abis)),
            ("csharp", _renamed.GetValueOrDefault(KeyOfType(type.Name))),
            ("header", OtherHeader(type.Header))
        );
        _text.Append('\n');
        Line(1, $"<{element}{attributes}>");
        string doc = Doc(type.Name, type.Doc);
        if (doc.Length > 0)
            Line(2, Escape(doc));
        foreach (MergedMember member in merged.Members)
            Member(type, member);
        Line(1, $"</{element}>");
    }

    private void Member(HeaderType owner, MergedMember merged)
    {
        HeaderMember m = merged.Member;
        string doc = Doc($"{owner.Name}.{m.Name}", m.Doc);
        if (m.Kind == MemberKind.Skip)
        {
            Element(2, "skip", Attributes(("type", m.Type), ("bits", Number(m.Bits)), ("abi", Abis(merged.Abis))), doc);
            return;
        }
        if (m.Kind == MemberKind.Tail)
        {
            Element(2, "tail", Attributes(("name", m.Name), ("type", m.Type)), doc);
            return;
        }
        string? used = _hints.Used(owner, m.Name);
        Element(
            2,
            "member",
            Attributes(
                ("name", m.Name),
                ("path", m.Path == m.Name ? null : m.Path),
                ("type", m.Type),
                ("count", m.Count),
                ("used", used),
                ("align", Number(m.Align)),
                ("bits", Number(m.Bits)),
                ("csharp", _renamed.GetValueOrDefault(KeyOfMember(owner.Name, m.Name))),
                ("abi", Abis(merged.Abis))
            ),
            doc
        );
    }

    private static string? Abis(IReadOnlyList<string> abis) => abis.Count == 0 ? null : string.Join(' ', abis);

    private static string? Number(int? value) => value?.ToString(CultureInfo.InvariantCulture);

    private void Ring(HeaderRing ring)
    {
        string attributes = Attributes(
            ("name", ring.Name),
            ("header", ring.Header),
            ("request", ring.Request),
            ("response", ring.Response)
        );
        var variants = _hints.Variants(ring.Name, _headers.Types.Select(t => t.Type.Name)).ToList();
        if (variants.Count == 0)
        {
            Line(1, $"<ring{attributes}/>");
            return;
        }
        Line(1, $"<ring{attributes}>");
        foreach ((string type, string when, string value) in variants)
            Line(2, $"<variant{Attributes(("struct", type), ("when", when), ("is", value))}/>");
        Line(1, "</ring>");
    }

    private string Doc(string name, string headers) => _hints.Doc(name) ?? headers;

    private string? OtherHeader(string header) => header == _header ? null : header;

    private void Element(int depth, string name, string attributes, string doc) =>
        Line(depth, doc.Length == 0 ? $"<{name}{attributes}/>" : $"<{name}{attributes}>{Escape(doc)}</{name}>");

    private void Line(int depth, string text) => _text.Append(' ', 2 * depth).Append(text).Append('\n');

    private static string Attributes(params (string Name, string? Value)[] attributes) =>
        string.Concat(attributes.Where(a => a.Value is not null).Select(a => $" {a.Name}=\"{InAttribute(a.Value!)}\""));

    /// <summary>XML readers turn a line end or a tab in an attribute into a space.</summary>
    private static string InAttribute(string text) =>
        SecurityElement
            .Escape(text)
            .Replace("\t", "&#9;", StringComparison.Ordinal)
            .Replace("\n", "&#10;", StringComparison.Ordinal)
            .Replace("\r", "&#13;", StringComparison.Ordinal);

    /// <summary>In text only these must be escaped; quotes stay readable.</summary>
    private static string Escape(string text) =>
        text.Replace("&", "&amp;", StringComparison.Ordinal)
            .Replace("<", "&lt;", StringComparison.Ordinal)
            .Replace(">", "&gt;", StringComparison.Ordinal);

    private static string CommentSafe(string text) => text.Replace("--", "- -", StringComparison.Ordinal).TrimEnd('-');
}
