using System.Reflection;
using System.Xml;
using System.Xml.Linq;

namespace Blkring.AbiTools.Import;

/// <summary>
/// What headers do not express: which constants of a shared header belong to the protocol, which member counts an
/// array, which form a request has. The hints are Hints/NAME.xml in this assembly. A protocol without hints consists of
/// its whole header and nothing else. A hint that matches nothing is reported, because it is misspelt or the header has
/// changed, unless the header is older than the hints.
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

    /// <summary>The hints for a protocol of Xen; empty if it needs none.</summary>
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

    /// <summary>Other headers with constants of the protocol.</summary>
    public IEnumerable<string> Headers => _root.Elements("header").Select(e => Value(e, "name"));

    /// <summary>
    /// Whether a constant of a header belongs to the protocol. A hint lists names, or a prefix and a star. Without a
    /// hint for the header, all belong to it.
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
    /// Whether a struct or union of the header belongs to the protocol; the types inside it then do too. Without a
    /// hint, all belong to it.
    /// </summary>
    public bool TakesType(string name) =>
        _root.Element("types") is not { } hint || (Words(hint, "only").Contains(name) && Match(hint, name));

    /// <summary>A sentence about the omitted types; null if all types are wanted.</summary>
    public string? WhyNotAllTypes => _root.Element("types")?.Value;

    /// <summary>What is left out, and why.</summary>
    public IEnumerable<(string Name, string Why)> LeftOut =>
        _root.Elements("leave-out").Select(e => (Value(e, "name"), e.Value));

    /// <summary>
    /// The member that counts the used elements of an array. Null when no hint names such a member, and for a
    /// comparison, because it is not part of the layout.
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

    /// <summary>Documentation that the headers lack: by constant, type, or type.member.</summary>
    public string? Doc(string name) =>
        _root.Elements("doc").FirstOrDefault(e => Value(e, "of") == name) is { } hint && Match(hint, name)
            ? hint.Value
            : null;

    /// <summary>Checks, when a spec is written, that every hint was used.</summary>
    /// <param name="isKnown">Whether the headers have a constant or type of this name.</param>
    /// <exception cref="HeaderImportException">
    /// A hint matches nothing in headers that are as new as the hints.
    /// </exception>
    public void Check(string header, Func<string, bool> isKnown)
    {
        // Headers of older releases lack some of the names that have hints.
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
                var other => throw new InvalidOperationException($"<{other}> is not a hint."),
            };
            if (names.FirstOrDefault(name => !_matched.Contains((hint, name))) is { } unused)
                throw new HeaderImportException(
                    $"{header}: the hint {LogText(hint)} of Hints/{_protocol}.xml matches nothing here ({unused}); "
                        + "correct the hint, or the header"
                );
        }
    }

    private bool Match(XElement hint, string name)
    {
        _matched.Add((hint, name));
        return true;
    }

    private static string LogText(XElement hint) => $"<{hint.Name} {string.Join(' ', hint.Attributes())}>";

    /// <summary>An attribute's words; none without the attribute.</summary>
    private static string[] Words(XElement e, string attribute) =>
        (e.Attribute(attribute)?.Value ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries);

    private static string Value(XElement e, string attribute) =>
        e.Attribute(attribute)?.Value ?? throw new InvalidOperationException($"A hint <{e.Name}> lacks {attribute}.");
}
