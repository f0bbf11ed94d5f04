using System.Collections.Immutable;
using System.Text.RegularExpressions;
using System.Xml;
using System.Xml.Linq;
using System.Xml.Schema;
using Microsoft.CodeAnalysis;

namespace Blkring.Generators.Tests;

/// <summary>The schema that editors complete from says what the parser accepts: no more, and no less.</summary>
public sealed class SchemaTests
{
    private static readonly XNamespace Xs = XmlSchema.Namespace;
    private static readonly string Folder = Path.Combine(AppContext.BaseDirectory, "abi");
    private static readonly XDocument Schema = XDocument.Load(Path.Combine(Folder, "spec.xsd"));

    public static TheoryData<string> Specs() =>
        [.. Directory.GetFiles(Folder, "*.xml").Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];

    public static TheoryData<string> Elements() =>
        [.. Schema.Root!.Elements(Xs + "element").Select(e => e.Attribute("name")!.Value)];

    [Theory]
    [MemberData(nameof(Specs))]
    public void Every_spec_is_valid(string name) =>
        Assert.Equal("", Validate(XDocument.Load(Path.Combine(Folder, name))));

    [Theory]
    [InlineData("<protocol name=\"p\"/>", "header")]
    [InlineData("<protocol name=\"p\" header=\"p.h\"><field/></protocol>", "field")]
    [InlineData("<protocol name=\"p\" header=\"p.h\"><abi name=\"x\" align-64=\"2\"/></protocol>", "align-64")]
    [InlineData("<protocol name=\"p\" header=\"p.h\"><constant name=\"A\" value=\"1+3\"/></protocol>", "value")]
    [InlineData("<protocol name=\"p\" header=\"p.h\"><constant name=\"9P\" value=\"1\"/></protocol>", "name")]
    public void A_mistake_is_found_by_the_schema_too(string spec, string where) =>
        Assert.Contains($"'{where}'", Validate(XDocument.Parse(spec)), StringComparison.Ordinal);

    [Theory]
    [MemberData(nameof(Elements))]
    public void The_schema_and_the_parser_know_the_same_attributes(string element)
    {
        Assert.Equal(
            AttributesOf(element).Order(),
            Told(Around(element, $"<{element} surplus=\"\"/>"), "BLKABI003").Order()
        );
        string[] required = [.. AttributesOf(element, requiredOnly: true)];
        Assert.Empty(Missing(element, required));
        // One at a time: a problem is told once a place.
        Assert.All(required, left => Assert.Equal([left], Missing(element, required.Where(a => a != left))));
    }

    [Theory]
    [MemberData(nameof(Elements))]
    public void The_schema_and_the_parser_know_the_same_elements(string element)
    {
        string[] told = Told(Around(element, $"<{element}><surplus/></{element}>"), "BLKABI002");

        Assert.Equal(
            ChildrenOf(element).Select(child => $"<{child}>").DefaultIfEmpty("text only").Order(),
            told.Order()
        );
        // What may be inside is itself in the schema, so that the parser's elements are all reached.
        Assert.Subset(
            Schema.Root!.Elements(Xs + "element").Select(e => e.Attribute("name")!.Value).ToHashSet(),
            ChildrenOf(element).ToHashSet()
        );
    }

    [Fact]
    public void Everything_in_the_schema_is_documented() =>
        Assert.All(
            Schema.Descendants().Where(e => e.Attribute("name") is not null),
            part =>
                Assert.False(
                    string.IsNullOrWhiteSpace(part.Element(Xs + "annotation")?.Element(Xs + "documentation")?.Value),
                    part.ToString()
                )
        );

    /// <summary>What the parser misses in an element that has these attributes.</summary>
    private static string[] Missing(string element, IEnumerable<string> given)
    {
        string attributes = string.Concat(given.Select(a => $" {a}=\"8\""));
        return
        [
            .. Diagnostics(Around(element, $"<{element}{attributes}/>"))
                .Where(d => d.Id == "BLKABI004")
                .Select(d => Regex.Match(Message(d), $"^<{element}> lacks the attribute '([^']+)'").Groups[1].Value)
                .Where(name => name.Length > 0),
        ];
    }

    private static XElement Element(string name) =>
        Schema.Root!.Elements(Xs + "element").Single(e => e.Attribute("name")!.Value == name);

    private static IEnumerable<string> AttributesOf(string element, bool requiredOnly = false) =>
        Element(element)
            .Descendants(Xs + "attribute")
            .Where(a => !requiredOnly || a.Attribute("use")?.Value == "required")
            .Select(a => a.Attribute("name")!.Value);

    private static IEnumerable<string> ChildrenOf(string element) =>
        Element(element).Descendants(Xs + "element").Select(e => e.Attribute("ref")!.Value);

    /// <summary>The elements that the schema puts around this one.</summary>
    private static string Around(string element, string xml)
    {
        string? parent = Schema
            .Root!.Elements(Xs + "element")
            .Select(e => e.Attribute("name")!.Value)
            .FirstOrDefault(name => ChildrenOf(name).Contains(element));
        return parent is null ? xml : Around(parent, $"<{parent}>{xml}</{parent}>");
    }

    /// <summary>What a message offers after "use" for the surplus part.</summary>
    private static string[] Told(string spec, string id)
    {
        Diagnostic found = Diagnostics(spec)
            .First(d => d.Id == id && Message(d).Contains("surplus", StringComparison.Ordinal));
        return Message(found).Split("; use ")[1].Split(", ");
    }

    private static ImmutableArray<Diagnostic> Diagnostics(string spec) =>
        GeneratorKit.Run(new SpecFile("demo.xml", spec)).Diagnostics;

    private static string Message(Diagnostic diagnostic) =>
        diagnostic.GetMessage(System.Globalization.CultureInfo.InvariantCulture);

    private static string Validate(XDocument spec)
    {
        XmlSchemaSet schemas = new();
        using XmlReader reader = Schema.CreateReader();
        schemas.Add(null, reader);
        List<string> problems = [];
        spec.Validate(schemas, (_, problem) => problems.Add(problem.Message));
        return string.Join('\n', problems);
    }
}
