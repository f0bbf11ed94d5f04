using System.Reflection;
using System.Xml;
using System.Xml.Linq;

namespace Blkring.AbiTools.Import;

/// <summary>
/// What a protocol's headers cannot say: which constants of a shared header are the protocol's, which member counts an array, which
/// form a request has. Hints/NAME.xml, within this assembly; a protocol without hints has all of its header and nothing else.
/// </summary>
internal sealed class Hints
{
    private readonly XElement _root;

    private Hints(XElement root) => _root = root;

    /// <summary>The hints for a protocol of Xen's; empty when it needs none.</summary>
    public static Hints For(string protocol)
    {
        using Stream? stream = Assembly.GetExecutingAssembly().GetManifestResourceStream($"Hints/{protocol}.xml");
        if (stream is null)
            return new Hints(new XElement("hints"));
        using var reader = XmlReader.Create(stream, new XmlReaderSettings { DtdProcessing = DtdProcessing.Prohibit, XmlResolver = null });
        return new Hints(XElement.Load(reader));
    }

    /// <summary>Headers besides the protocol's own that have constants of it.</summary>
    public IEnumerable<string> Headers => _root.Elements("header").Select(e => Value(e, "name"));

    /// <summary>Which constants of a header are the protocol's: names, or the beginning of names and a star. All when no hint is about the header.</summary>
    public bool TakesConstant(string constant, string header)
    {
        if (LeavesOut(constant))
            return false;
        XElement? hint = _root.Elements("header").FirstOrDefault(e => Value(e, "name") == header);
        return hint is null || Value(hint, "constants").Split(' ').Any(p =>
            p.EndsWith('*') ? constant.StartsWith(p[..^1], StringComparison.Ordinal) : constant == p);
    }

    public bool LeavesOut(string name) => _root.Elements("leave-out").Any(e => Value(e, "name") == name);

    /// <summary>Whether a header's struct or union is wanted for itself; those that wanted ones hold always are. All when no hint lists some.</summary>
    public bool TakesType(string name) => _root.Element("types") is not { } hint || Value(hint, "only").Split(' ').Contains(name);

    /// <summary>In words, when not all types are wanted; null when they are.</summary>
    public string? WhyNotAllTypes => _root.Element("types")?.Value;

    /// <summary>What is left out, and why.</summary>
    public IEnumerable<(string Name, string Why)> LeftOut => _root.Elements("leave-out").Select(e => (Value(e, "name"), e.Value));

    /// <summary>The member that counts an array's elements in use; null where no hint names one.</summary>
    public string? Used(string type, string member) =>
        _root.Elements("used").FirstOrDefault(e => Value(e, "struct") == type && Value(e, "array") == member) is { } hint ? Value(hint, "by") : null;

    public IEnumerable<(string Struct, string When, string Is)> Variants(string ring) => _root.Elements("variant")
        .Where(e => Value(e, "ring") == ring)
        .Select(e => (Value(e, "struct"), Value(e, "when"), Value(e, "is")));

    /// <summary>Documentation for what the headers leave without: by constant, type, or type.member.</summary>
    public string? Doc(string name) => _root.Elements("doc").FirstOrDefault(e => Value(e, "of") == name)?.Value;

    private static string Value(XElement e, string attribute) =>
        e.Attribute(attribute)?.Value ?? throw new InvalidOperationException($"A hint <{e.Name}> lacks {attribute}.");
}
