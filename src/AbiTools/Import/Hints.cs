using System.Reflection;
using System.Xml;
using System.Xml.Linq;

namespace Blkring.AbiTools.Import;

/// <summary>
/// What a protocol's headers cannot say: which constants of a shared header are the protocol's, which member counts an
/// array, which form a request has. Hints/NAME.xml, within this assembly; a protocol without hints has all of its
/// header and nothing else. A hint that no header has a use for is misspelt, or the header has moved on: it is told,
/// unless the header is older than the hints.
/// </summary>
internal sealed class Hints
{
    private readonly XElement _root;
    private readonly string _protocol;
    private readonly bool _isForComparison;
    private readonly HashSet<(XElement Hint, string Name)> _matched = [];

    private Hints(XElement root, string protocol, bool isForComparison)
    {
        _root = root;
        _protocol = protocol;
        _isForComparison = isForComparison;
    }

    /// <summary>The hints for a protocol of Xen's; empty when it needs none.</summary>
    /// <param name="isForComparison">Whether only layouts are of interest.</param>
    public static Hints For(string protocol, bool isForComparison)
    {
        using Stream? stream = Assembly.GetExecutingAssembly().GetManifestResourceStream($"Hints/{protocol}.xml");
        if (stream is null)
            return new Hints(new XElement("hints"), protocol, isForComparison);
        using var reader = XmlReader.Create(
            stream,
            new XmlReaderSettings { DtdProcessing = DtdProcessing.Prohibit, XmlResolver = null }
        );
        return new Hints(XElement.Load(reader), protocol, isForComparison);
    }

    /// <summary>Headers besides the protocol's own that have constants of it.</summary>
    public IEnumerable<string> Headers => _root.Elements("header").Select(e => Value(e, "name"));

    /// <summary>
    /// Which constants of a header are the protocol's: names, or the beginning of names and a star. All when no hint is
    /// about the header.
    /// </summary>
    public bool TakesConstant(string constant, string header)
    {
        if (LeavesOut(constant))
            return false;
        if (_root.Elements("header").FirstOrDefault(e => Value(e, "name") == header) is not { } hint)
            return true;
        string? pattern = Words(hint, "constants")
            .FirstOrDefault(p =>
                p.EndsWith('*') ? constant.StartsWith(p[..^1], StringComparison.Ordinal) : constant == p
            );
        return pattern is not null && Match(hint, pattern);
    }

    public bool LeavesOut(string name) =>
        _root.Elements("leave-out").FirstOrDefault(e => Value(e, "name") == name) is { } hint && Match(hint, name);

    /// <summary>
    /// Whether a header's struct or union is wanted for itself; those that wanted ones hold always are. All when no
    /// hint lists some.
    /// </summary>
    public bool TakesType(string name) =>
        _root.Element("types") is not { } hint || (Words(hint, "only").Contains(name) && Match(hint, name));

    /// <summary>In words, when not all types are wanted; null when they are.</summary>
    public string? WhyNotAllTypes => _root.Element("types")?.Value;

    /// <summary>What is left out, and why.</summary>
    public IEnumerable<(string Name, string Why)> LeftOut =>
        _root.Elements("leave-out").Select(e => (Value(e, "name"), e.Value));

    /// <summary>
    /// The member that counts an array's elements in use; null where no hint names one that the type has, and for a
    /// comparison: it is no matter of layout.
    /// </summary>
    public string? Used(HeaderType type, string member) =>
        !_isForComparison
        && _root.Elements("used").FirstOrDefault(e => Value(e, "struct") == type.Name && Value(e, "array") == member)
            is { } hint
        && Value(hint, "by") is var counter
        && type.Members.Any(m => m.Name == counter)
        && Match(hint, counter)
            ? counter
            : null;

    /// <summary>The other forms of a ring's request, of those that the headers have a type for.</summary>
    public IEnumerable<(string Struct, string When, string Is)> Variants(string ring, IEnumerable<string> types) =>
        _root
            .Elements("variant")
            .Where(e => Value(e, "ring") == ring && types.Contains(Value(e, "struct")) && Match(e, ring))
            .Select(e => (Value(e, "struct"), Value(e, "when"), Value(e, "is")));

    /// <summary>Documentation for what the headers leave without: by constant, type, or type.member.</summary>
    public string? Doc(string name) =>
        _root.Elements("doc").FirstOrDefault(e => Value(e, "of") == name) is { } hint && Match(hint, name)
            ? hint.Value
            : null;

    /// <summary>Called when a spec is written, by what its headers have.</summary>
    /// <param name="isKnown">Whether the headers have a constant or type of this name.</param>
    /// <exception cref="HeaderImportException">
    /// A hint was of no use to headers that are as new as the hints.
    /// </exception>
    public void Check(string header, Func<string, bool> isKnown)
    {
        // Headers of older releases lack some of what there are hints for.
        if (!Words(_root, "since").All(isKnown))
            return;
        foreach (XElement hint in _root.Elements())
        {
            string[] names = hint.Name.LocalName switch
            {
                "header" => Words(hint, "constants"),
                "types" => Words(hint, "only"),
                "leave-out" => [Value(hint, "name")],
                "used" => [Value(hint, "by")],
                "variant" => [Value(hint, "ring")],
                "doc" => [Value(hint, "of")],
                var other => throw new InvalidOperationException($"<{other}> is no hint."),
            };
            if (names.FirstOrDefault(name => !_matched.Contains((hint, name))) is { } unused)
                throw new HeaderImportException(
                    $"{header}: the hint {Shown(hint)} of Hints/{_protocol}.xml matches nothing here ({unused}); correct the hint, or the header"
                );
        }
    }

    private bool Match(XElement hint, string name)
    {
        _matched.Add((hint, name));
        return true;
    }

    private static string Shown(XElement hint) => $"<{hint.Name} {string.Join(' ', hint.Attributes())}>";

    /// <summary>An attribute's words; none without the attribute.</summary>
    private static string[] Words(XElement e, string attribute) =>
        (e.Attribute(attribute)?.Value ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries);

    private static string Value(XElement e, string attribute) =>
        e.Attribute(attribute)?.Value ?? throw new InvalidOperationException($"A hint <{e.Name}> lacks {attribute}.");
}
