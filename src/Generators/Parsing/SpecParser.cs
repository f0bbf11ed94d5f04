using System.Globalization;
using System.Xml.Linq;
using Blkring.Generators.Diagnostics;
using Blkring.Generators.Model;
using Microsoft.CodeAnalysis;

namespace Blkring.Generators.Parsing;

/// <summary>Turns XML into the model. Checks elements and attributes; later checks resolve the names.</summary>
internal sealed class SpecParser(ProblemList problems, CancellationToken cancellation)
{
    private const decimal MinConstant = long.MinValue;
    private const decimal MaxConstant = ulong.MaxValue;
    private const int MaxPack = 8;
    private const int MaxAlign = 4096;
    private const int MaxBits = 64;
    private const string WidthOfABitField = "the width of a bit field";

    private static readonly string[] Contents = ["abi", "constant", "typedef", "struct", "union", "ring"];

    public ProtocolSpec? Parse(XElement root)
    {
        if (root.Name != "protocol")
        {
            problems.Add(Descriptors.UnknownElement, root, root.Name.LocalName, "as the root of a spec", "<protocol>");
            return null;
        }
        Allow(root, ["name", "header"], Contents);
        string header = Required(root, "header");

        var spec = new ProtocolSpec(
            Name(root),
            header,
            Doc(root),
            Each(root, "abi", Abi),
            Each(root, "constant", e => Constant(e, header)),
            Each(root, "typedef", e => Typedef(e, header)),
            // Structs and unions in the order of the file, which is the order of the header.
            root.Elements()
                .Where(e => e.Name == "struct" || e.Name == "union")
                .Select(e => Composite(e, header))
                .ToEquatableArray(),
            Each(root, "ring", Ring)
        );
        return problems.Origin(spec, root);
    }

    private AbiSpec Abi(XElement e)
    {
        Allow(e, ["name", "align-64"]);
        decimal align = Number(e, "align-64", "a number", 0, int.MaxValue) ?? 8;
        if (align is not (4 or 8))
            problems.Add(
                Descriptors.BadAlignment,
                e.Attribute("align-64")!,
                align.ToString(CultureInfo.InvariantCulture)
            );
        return problems.Origin(new AbiSpec(Name(e), (int)align, Doc(e)), e);
    }

    private ConstantSpec Constant(XElement e, string header)
    {
        Allow(e, ["name", "value", "string", "enum", "csharp", "header"]);
        string? text = Optional(e, "string");
        decimal value = 0;
        if (text is not null == (Optional(e, "value") is not null))
            problems.Add(
                Descriptors.BadConstant,
                e,
                Optional(e, "name") ?? "",
                text is null ? "neither value nor string" : "both value and string"
            );
        else if (text is null)
            value = Number(e, "value", "a 64-bit integer", MinConstant, MaxConstant) ?? 0;
        return problems.Origin(
            new ConstantSpec(
                Name(e),
                value,
                text,
                CNameOf(e, "enum"),
                CNameOf(e, "csharp"),
                Optional(e, "header") ?? header,
                Doc(e)
            ),
            e
        );
    }

    private TypedefSpec Typedef(XElement e, string header)
    {
        Allow(e, ["name", "type", "header"]);
        return problems.Origin(
            new TypedefSpec(Name(e), Required(e, "type"), Optional(e, "header") ?? header, Doc(e)),
            e
        );
    }

    private CompositeSpec Composite(XElement e, string header)
    {
        Allow(e, ["name", "path", "unnamed", "pack", "align", "abi", "csharp", "header"], "member", "skip", "tail");
        bool isUnnamed = Optional(e, "unnamed") == "true";
        if (e.Attribute("unnamed") is { } unnamed && (!isUnnamed || e.Attribute("path") is not null))
            problems.Add(Descriptors.BadUnnamed, unnamed, unnamed.Value);
        XElement[] tails = [.. e.Elements("tail")];
        if (tails.Length > 0 && (e.Name == "union" || tails.Length > 1 || tails[0].ElementsAfterSelf().Any()))
            problems.Add(Descriptors.BadTail, tails[0], "a flexible array is the last member of a struct");
        var spec = new CompositeSpec(
            Name(e),
            e.Name == "union",
            isUnnamed ? "" : CPathOf(e),
            PowerOfTwo(e, "pack", MaxPack),
            PowerOfTwo(e, "align", MaxAlign),
            Abis(e),
            CNameOf(e, "csharp"),
            Optional(e, "header") ?? header,
            Doc(e),
            e.Elements()
                .Where(part => part.Name == "member" || part.Name == "skip")
                .Select(part => part.Name == "member" ? Member(part) : Skip(part))
                .ToEquatableArray(),
            tails.Length == 1 ? Tail(tails[0]) : null
        );
        return problems.Origin(spec, e);
    }

    private MemberSpec Tail(XElement e)
    {
        Allow(e, ["name", "type"]);
        string name = Name(e);
        var spec = new MemberSpec(name, name, Required(e, "type"), null, null, null, null, null, null, default, Doc(e));
        return problems.Origin(spec, e);
    }

    private MemberSpec Member(XElement e)
    {
        Allow(e, ["name", "path", "type", "count", "used", "offset", "align", "bits", "csharp", "abi"]);
        string name = Name(e);
        var spec = new MemberSpec(
            name,
            CPathOf(e) ?? name,
            Required(e, "type"),
            Optional(e, "count"),
            Optional(e, "used"),
            (int?)Number(e, "offset", "an offset in bytes", 0, int.MaxValue, required: false),
            PowerOfTwo(e, "align", MaxAlign),
            (int?)Number(e, "bits", WidthOfABitField, 1, MaxBits, required: false),
            CNameOf(e, "csharp"),
            Abis(e),
            Doc(e)
        );
        return problems.Origin(spec, e);
    }

    private MemberSpec Skip(XElement e)
    {
        Allow(e, ["type", "bits", "abi"]);
        int bits = (int?)Number(e, "bits", WidthOfABitField, 0, MaxBits) ?? 0;
        return problems.Origin(
            new MemberSpec("", "", Required(e, "type"), null, null, null, null, bits, null, Abis(e), Doc(e)),
            e
        );
    }

    private static EquatableArray<string> Abis(XElement e) =>
        (Optional(e, "abi") ?? "").Split([' '], StringSplitOptions.RemoveEmptyEntries).ToEquatableArray();

    private RingSpec Ring(XElement e)
    {
        Allow(e, ["name", "header", "request", "response"], "variant");
        var spec = new RingSpec(
            Name(e),
            Required(e, "header"),
            Required(e, "request"),
            Required(e, "response"),
            Doc(e),
            Each(e, "variant", Variant)
        );
        return problems.Origin(spec, e);
    }

    private VariantSpec Variant(XElement e)
    {
        Allow(e, ["struct", "when", "is"]);
        return problems.Origin(new VariantSpec(Required(e, "struct"), Required(e, "when"), Required(e, "is")), e);
    }

    private EquatableArray<T> Each<T>(XElement parent, string name, Func<XElement, T> parse)
        where T : IEquatable<T>
    {
        cancellation.ThrowIfCancellationRequested();
        return parent.Elements(name).Select(parse).ToEquatableArray();
    }

    /// <summary>
    /// Reports every attribute and element that is not listed, so that a typing mistake never becomes a default.
    /// </summary>
    private void Allow(XElement e, string[] attributes, params string[] elements)
    {
        foreach (XAttribute attribute in e.Attributes().Where(a => !attributes.Contains(a.Name.ToString())))
            problems.Add(
                Descriptors.UnknownAttribute,
                attribute,
                e.Name.LocalName,
                attribute.Name.LocalName,
                string.Join(", ", attributes)
            );

        string allowed = elements.Length == 0 ? "text only" : string.Join(", ", elements.Select(name => $"<{name}>"));
        foreach (XElement child in e.Elements().Where(c => !elements.Contains(c.Name.ToString())))
            problems.Add(
                Descriptors.UnknownElement,
                child,
                child.Name.LocalName,
                $"inside <{e.Name.LocalName}>",
                allowed
            );
    }

    private string Name(XElement e)
    {
        string name = Required(e, "name");
        if (e.Attribute("name") is { } attribute && !CName.IsIdentifier(name))
            problems.Add(Descriptors.NotACName, attribute, name);
        return name;
    }

    private string? CNameOf(XElement e, string attribute)
    {
        if (e.Attribute(attribute) is { } where && !CName.IsIdentifier(where.Value))
            problems.Add(Descriptors.NotACName, where, where.Value);
        return Optional(e, attribute);
    }

    private string? CPathOf(XElement e)
    {
        if (e.Attribute("path") is { } where && !where.Value.Split('.').All(CName.IsIdentifier))
            problems.Add(Descriptors.NotACName, where, where.Value);
        return Optional(e, "path");
    }

    private string Required(XElement e, string attribute)
    {
        string? value = Optional(e, attribute);
        if (value is null)
            problems.Add(Descriptors.MissingAttribute, e, e.Name.LocalName, attribute);
        return value ?? "";
    }

    private static string? Optional(XElement e, string attribute) => e.Attribute(attribute)?.Value;

    private int? PowerOfTwo(XElement e, string attribute, int max)
    {
        var value = (int?)Number(e, attribute, $"a power of two from 1 to {max}", 1, max, required: false);
        if (value is not { } bytes || (bytes & (bytes - 1)) == 0)
            return value;
        problems.Add(
            Descriptors.BadNumber,
            e.Attribute(attribute)!,
            e.Attribute(attribute)!.Value,
            $"a power of two from 1 to {max}"
        );
        return null;
    }

    private decimal? Number(XElement e, string attribute, string what, decimal min, decimal max, bool required = true)
    {
        string? text = required ? Required(e, attribute) : Optional(e, attribute);
        if (e.Attribute(attribute) is not { } where)
            return null;
        if (CNumber.Parse(text!) is { } value && value >= min && value <= max)
            return value;
        problems.Add(Descriptors.BadNumber, where, text!, what);
        return null;
    }

    /// <summary>The element's own text on one line, because line breaks are not part of the model.</summary>
    private static string Doc(XElement e)
    {
        string text = string.Concat(e.Nodes().OfType<XText>().Select(t => t.Value + " "));
        return string.Join(" ", text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
    }
}
