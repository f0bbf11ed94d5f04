using System.Collections.Immutable;
using System.Globalization;
using System.Reflection;
using Blkring.Generators.Diagnostics;
using Microsoft.CodeAnalysis;

namespace Blkring.Generators.Tests;

/// <summary>
/// Each mistake a spec can have, at its line and column (marked §, from which the mark itself is taken out), with
/// advice.
/// </summary>
public sealed class DiagnosticTests
{
    public static TheoryData<string, string, string> Mistakes() =>
        new()
        {
            // Reading the XML.
            {
                "BLKABI001",
                "<protocol name=\"demo\"\n  header=\"demo.h\">\n  <abi name=\"native\" align-64=\"8\">\n</§protocol>",
                "correct it where reading stopped"
            },
            { "BLKABI001", "§<!DOCTYPE protocol [<!ENTITY a \"b\">]>\n<protocol/>", "DTD" },
            { "BLKABI001", "§", "correct it where reading stopped" },
            { "BLKABI002", "<§protocols/>", "use <protocol>" },
            { "BLKABI002", Demo("<§enum name=\"e\"/>"), "use <abi>, <constant>, <typedef>, <struct>, <union>, <ring>" },
            {
                "BLKABI002",
                Demo("<struct name=\"s\"><member name=\"a\" type=\"uint8_t\"/><§field/></struct>"),
                "inside <struct>; use <member>"
            },
            {
                "BLKABI003",
                Demo("<constant name=\"A\" value=\"1\" §valu=\"1\"/>"),
                "use name, value, string, enum, csharp, header"
            },
            { "BLKABI004", Demo("<§typedef name=\"t\"/>"), "add type=" },
            { "BLKABI005", Demo("<constant name=\"A\" §value=\"1+3\"/>"), "write it in decimal or with 0x" },
            { "BLKABI005", Demo("<constant name=\"A\" §value=\"0x10000000000000000\"/>"), "64-bit" },
            {
                "BLKABI005",
                Demo("<struct name=\"s\"><member name=\"a\" type=\"uint8_t\" §offset=\"-1\"/></struct>"),
                "an offset in bytes"
            },
            { "BLKABI030", Demo("<§constant name=\"A\"/>"), "give either value" },
            { "BLKABI030", Demo("<§constant name=\"A\" value=\"1\" string=\"1\"/>"), "both" },
            {
                "BLKABI014",
                "<protocol name=\"demo\" header=\"demo.h\">\n  <abi name=\"native\" §align-64=\"2\"/>\n</protocol>",
                "4 or to 8"
            },
            // Names.
            {
                "BLKABI006",
                Demo("<struct §name=\"a-b\"><member name=\"a\" type=\"uint8_t\"/></struct>"),
                "copy the name from the header"
            },
            {
                "BLKABI006",
                Demo("<struct name=\"s\"><member §name=\"int\" type=\"uint8_t\"/></struct>"),
                "'int' is not a C identifier"
            },
            { "BLKABI006", Demo("<constant §name=\"9P\" value=\"1\"/>"), "copy the name from the header" },
            {
                "BLKABI006",
                Demo("<struct name=\"s\"><member name=\"a\" §path=\"x..a\" type=\"uint8_t\"/></struct>"),
                "'x..a'"
            },
            {
                "BLKABI007",
                Demo("<constant name=\"A\" value=\"1\"/>\n<constant §name=\"A\" value=\"1\"/>"),
                "remove or rename"
            },
            {
                "BLKABI007",
                Demo(
                    "<struct name=\"s\"><member name=\"a\" type=\"uint8_t\"/>"
                        + "<member §name=\"a\" type=\"uint8_t\"/></struct>"
                ),
                "remove or rename"
            },
            {
                "BLKABI007",
                Demo(
                    "<typedef name=\"s\" type=\"uint8_t\"/>\n<struct §name=\"s\">"
                        + "<member name=\"a\" type=\"uint8_t\"/></struct>"
                ),
                "remove or rename"
            },
            { "BLKABI007", Demo("<typedef §name=\"uint8_t\" type=\"int8_t\"/>"), "remove or rename" },
            {
                "BLKABI008",
                Demo("<constant name=\"DEMO_OP\" value=\"1\"/><constant §name=\"OP\" value=\"2\"/>"),
                "already the C# name of DEMO_OP"
            },
            {
                "BLKABI008",
                Demo(
                    "<struct name=\"s\"><member name=\"nr_x\" type=\"uint8_t\"/>"
                        + "<member §name=\"NR_X\" type=\"uint8_t\"/></struct>"
                ),
                "leave one of the two out"
            },
            {
                "BLKABI008",
                Demo("<struct name=\"s\"><member §name=\"get_type\" type=\"uint8_t\"/></struct>"),
                "a method of every C# type"
            },
            {
                "BLKABI008",
                Demo("<struct name=\"part\"><member §name=\"part\" type=\"uint8_t\"/></struct>"),
                "the name of the struct itself"
            },
            { "BLKABI008", Demo("<constant §name=\"demo_unsafe\" value=\"1\"/>"), "the generated code uses" },
            { "BLKABI008", Demo("<constant §name=\"NATIVE\" value=\"1\"/>"), "the tag of the ABI native" },
            { "BLKABI009", Demo("<constant §name=\"DEMO_9P\" value=\"1\"/>"), "begins with a letter" },
            {
                "BLKABI009",
                Demo("<struct name=\"s\"><member §name=\"__\" type=\"uint8_t\"/></struct>"),
                "is not an identifier"
            },
            { "BLKABI029", "<§protocol name=\"demo\" header=\"demo.h\"/>", "add at least <abi" },
            // References.
            {
                "BLKABI010",
                Demo("<struct name=\"s\"><member name=\"a\" §type=\"uint24_t\"/></struct>"),
                "use uint8_t"
            },
            { "BLKABI010", Demo("<typedef name=\"t\" §type=\"gone_t\"/>"), "declare a <typedef>" },
            {
                "BLKABI011",
                Demo("<struct name=\"s\"><member name=\"a\" type=\"uint8_t\" §count=\"0\"/></struct>"),
                "from 1 to 65536"
            },
            {
                "BLKABI011",
                Demo("<struct name=\"s\"><member name=\"a\" type=\"uint8_t\" §count=\"1099511627776\"/></struct>"),
                "refused"
            },
            {
                "BLKABI011",
                Demo(
                    "<constant name=\"N\" value=\"-1\"/>\n<struct name=\"s\">"
                        + "<member name=\"a\" type=\"uint8_t\" §count=\"N\"/></struct>"
                ),
                "from 1"
            },
            {
                "BLKABI012",
                Demo("<struct name=\"s\"><member name=\"a\" type=\"uint8_t\" §count=\"MAX\"/></struct>"),
                "declare the constant"
            },
            {
                "BLKABI012",
                Demo(
                    "<constant name=\"T\" string=\"1\"/><struct name=\"s\">"
                        + "<member name=\"a\" type=\"uint8_t\" §count=\"T\"/></struct>"
                ),
                "integer <constant>"
            },
            {
                "BLKABI013",
                Demo(
                    "<struct name=\"s\"><member name=\"a\" type=\"uint8_t\"/>"
                        + "<member name=\"b\" type=\"uint8_t\" §abi=\"x86_32 arm\"/></struct>"
                ),
                "use native, x86_32"
            },
            {
                "BLKABI013",
                Demo("<struct name=\"s\" §abi=\"arm\"><member name=\"a\" type=\"uint8_t\"/></struct>"),
                "use native, x86_32"
            },
            {
                "BLKABI036",
                Demo(
                    "<struct name=\"t\" abi=\"x86_32\"><member name=\"a\" type=\"uint8_t\"/></struct>"
                        + "<struct name=\"s\"><member name=\"a\" §type=\"t\"/></struct>"
                ),
                "'s.a' needs the type 't', which the ABI native lacks"
            },
            {
                "BLKABI036",
                Demo(
                    "<struct name=\"t\" abi=\"x86_32\"><member name=\"a\" type=\"uint8_t\"/></struct>"
                        + "<struct name=\"s\" abi=\"native\"><member name=\"n\" type=\"uint8_t\"/>"
                        + "<tail name=\"a\" §type=\"t\"/></struct>"
                ),
                "name the same ABIs for both"
            },
            {
                "BLKABI015",
                Demo("<typedef name=\"t\" §type=\"u\"/><typedef name=\"u\" type=\"u\"/>"),
                "break the cycle"
            },
            { "BLKABI015", Demo("<struct §name=\"s\"><member name=\"a\" type=\"s\"/></struct>"), "break the cycle" },
            {
                "BLKABI015",
                Demo(
                    "<struct §name=\"s\"><member name=\"a\" type=\"u\"/></struct><union name=\"u\">"
                        + "<member name=\"b\" type=\"s\"/></union>"
                ),
                "through u"
            },
            {
                "BLKABI019",
                Demo("<struct name=\"s\"><member name=\"a\" type=\"uint8_t\" count=\"2\" §used=\"n\"/></struct>"),
                "there is no such member; name an unsigned integer"
            },
            {
                "BLKABI019",
                Demo(
                    "<struct name=\"s\"><member name=\"n\" type=\"int8_t\"/>"
                        + "<member name=\"a\" type=\"uint8_t\" count=\"2\" §used=\"n\"/></struct>"
                ),
                "cannot count"
            },
            {
                "BLKABI019",
                Demo(
                    "<struct name=\"s\"><member name=\"n\" type=\"uint8_t\"/>"
                        + "<member name=\"a\" type=\"uint8_t\" §used=\"n\"/></struct>"
                ),
                "no array"
            },
            {
                "BLKABI006",
                Demo("<struct name=\"s\" §csharp=\"1s\"><member name=\"a\" type=\"uint8_t\"/></struct>"),
                "not a C identifier"
            },
            {
                "BLKABI005",
                Demo("<struct name=\"s\" §pack=\"3\"><member name=\"a\" type=\"uint8_t\"/></struct>"),
                "a power of two from 1 to 8"
            },
            {
                "BLKABI005",
                Demo("<struct name=\"s\" §align=\"8192\"><member name=\"a\" type=\"uint8_t\"/></struct>"),
                "a power of two from 1 to 4096"
            },
            {
                "BLKABI005",
                Demo("<struct name=\"s\"><member name=\"a\" type=\"uint8_t\" §align=\"6\"/></struct>"),
                "a power of two from 1 to 4096"
            },
            {
                "BLKABI005",
                Demo("<struct name=\"s\"><member name=\"a\" type=\"uint8_t\" §bits=\"0\"/></struct>"),
                "the width of a bit field"
            },
            {
                "BLKABI035",
                Demo("<struct name=\"s\"><member name=\"a\" type=\"uint8_t\" §bits=\"9\"/></struct>"),
                "uint8_t has 8 bits"
            },
            {
                "BLKABI035",
                Demo("<struct name=\"s\"><member name=\"a\" type=\"char\" §bits=\"1\"/></struct>"),
                "differs between machines"
            },
            {
                "BLKABI035",
                Demo("<struct name=\"s\"><member name=\"a\" type=\"uint8_t\" count=\"2\" §bits=\"1\"/></struct>"),
                "a count or an offset"
            },
            {
                "BLKABI035",
                Demo("<struct name=\"s\"><member name=\"a\" type=\"uint8_t\"/><skip type=\"s\" §bits=\"1\"/></struct>"),
                "s is no integer"
            },
            {
                "BLKABI010",
                Demo(
                    "<struct name=\"s\"><member name=\"a\" type=\"uint8_t\"/><skip §type=\"u8\" bits=\"1\"/></struct>"
                ),
                "use uint8_t"
            },
            {
                "BLKABI032",
                Demo(
                    "<struct name=\"s\"><member name=\"a\" type=\"uint8_t\"/><§tail name=\"t\" type=\"uint8_t\"/>"
                        + "<member name=\"b\" type=\"uint8_t\"/></struct>"
                ),
                "put it last"
            },
            {
                "BLKABI032",
                Demo(
                    "<struct name=\"s\"><member name=\"a\" type=\"uint8_t\"/><tail §name=\"t\" type=\"uint8_t\"/>"
                        + "</struct><struct name=\"o\"><member name=\"s\" type=\"s\" count=\"2\"/></struct>"
                ),
                "an array's element"
            },
            {
                "BLKABI010",
                Demo(
                    "<struct name=\"s\"><member name=\"a\" type=\"uint8_t\"/><tail name=\"t\" §type=\"nothing\"/>"
                        + "</struct>"
                ),
                "is not a known type"
            },
            {
                "BLKABI008",
                Demo(
                    "<struct name=\"s\"><member name=\"t_offset\" type=\"uint8_t\"/>"
                        + "<tail §name=\"t\" type=\"uint8_t\"/></struct>"
                ),
                "the C# name of t_offset"
            },
            {
                "BLKABI034",
                Demo("<struct name=\"s\" path=\"s\" §unnamed=\"true\"><member name=\"a\" type=\"uint8_t\"/></struct>"),
                "leave one of the two out"
            },
            {
                "BLKABI033",
                Demo("<struct name=\"s\" §path=\"nothing.u\"><member name=\"a\" type=\"uint8_t\"/></struct>"),
                "begin with the type"
            },
            { "BLKABI031", Demo(string.Concat(Enumerable.Range(0, 17).Select(Nested))), "flatten it" },
            // Layouts.
            {
                "BLKABI016",
                Demo("<struct §name=\"s\"><member name=\"a\" type=\"uint64_t\" count=\"65536\"/></struct>"),
                "larger than 65536 bytes"
            },
            {
                "BLKABI016",
                Demo("<struct §name=\"s\"><member name=\"a\" type=\"uint8_t\" offset=\"2147483647\"/></struct>"),
                "correct its counts or offsets"
            },
            {
                "BLKABI017",
                Demo(
                    "<struct name=\"s\"><member name=\"a\" type=\"uint32_t\"/>"
                        + "<member name=\"b\" type=\"uint8_t\" §offset=\"2\"/></struct>"
                ),
                "move it to 4 or later"
            },
            {
                "BLKABI018",
                Demo(
                    "<struct name=\"s\"><member name=\"a\" type=\"uint8_t\"/>"
                        + "<member name=\"b\" type=\"uint32_t\" §offset=\"6\"/></struct>"
                ),
                "not aligned to 4 bytes"
            },
            {
                "BLKABI018",
                Demo(
                    "<struct name=\"s\"><member name=\"a\" type=\"uint8_t\"/>"
                        + "<member name=\"b\" type=\"uint64_t\" §offset=\"4\"/></struct>"
                ),
                "as the ABI native needs"
            },
            { "BLKABI027", Demo("<struct §name=\"s\"/>"), "add a member or remove it" },
            {
                "BLKABI027",
                Demo("<struct §name=\"s\"><member name=\"a\" type=\"uint8_t\" abi=\"x86_32\"/></struct>"),
                "in the ABI native"
            },
            // Rings.
            {
                "BLKABI020",
                Ring("<ring name=\"demo\" header=\"h\" §request=\"nothing\" response=\"r\"/>"),
                "declare it or correct the name"
            },
            {
                "BLKABI020",
                Ring(
                    "<ring name=\"demo\" header=\"h\" request=\"q\" response=\"r\">"
                        + "<variant §struct=\"nothing\" when=\"op\" is=\"1\"/></ring>"
                ),
                "no <struct>"
            },
            {
                "BLKABI036",
                Ring(
                    "<struct name=\"v\" abi=\"native\"><member name=\"op\" type=\"uint8_t\"/></struct>"
                        + "<ring name=\"demo\" header=\"h\" §request=\"v\" response=\"r\"/>"
                ),
                "The ring 'demo' needs the type 'v', which the ABI x86_32 lacks"
            },
            {
                "BLKABI021",
                Ring("<ring name=\"demo\" §header=\"q\" request=\"q\" response=\"r\"/>"),
                "lacks the index req_prod, req_event, rsp_prod, rsp_event as a plain uint32_t member"
            },
            {
                "BLKABI022",
                Ring(Header("uint8_t", 3) + "<ring name=\"demo\" §header=\"g\" request=\"q\" response=\"r\"/>"),
                "pad the header"
            },
            {
                "BLKABI022",
                Ring(
                    "<struct name=\"big\"><member name=\"a\" type=\"uint8_t\" count=\"4096\"/></struct>"
                        + "<ring name=\"demo\" header=\"h\" §request=\"big\" response=\"r\"/>"
                ),
                "make the messages smaller"
            },
            {
                "BLKABI022",
                Ring(
                    Header("uint64_t", 1, " abi=\"native\"")
                        + "<ring name=\"demo\" §header=\"g\" request=\"q\" response=\"r\"/>"
                ),
                "differs between ABIs"
            },
            {
                "BLKABI023",
                Ring(
                    "<ring name=\"demo\" header=\"h\" request=\"q\" response=\"r\">"
                        + "<variant struct=\"q\" §when=\"kind\" is=\"1\"/></ring>"
                ),
                "has no such integer member"
            },
            {
                "BLKABI023",
                Ring(
                    "<ring name=\"demo\" header=\"h\" request=\"q\" response=\"r\">"
                        + "<variant struct=\"r\" §when=\"op\" is=\"1\"/></ring>"
                ),
                "at one offset"
            },
            {
                "BLKABI024",
                Ring(
                    "<ring name=\"demo\" header=\"h\" request=\"q\" response=\"r\">"
                        + "<variant struct=\"q\" when=\"op\" §is=\"OP_X\"/></ring>"
                ),
                "neither a number"
            },
            {
                "BLKABI024",
                Ring(
                    "<ring name=\"demo\" header=\"h\" request=\"q\" response=\"r\">"
                        + "<variant struct=\"q\" when=\"op\" §is=\"256\"/></ring>"
                ),
                "0 to 255"
            },
            {
                "BLKABI024",
                Ring(
                    "<ring name=\"demo\" header=\"h\" request=\"q\" response=\"r\">"
                        + "<variant struct=\"q\" when=\"op\" is=\"1\"/><variant struct=\"q\" when=\"op\" §is=\"0x1\"/>"
                        + "</ring>"
                ),
                "once per ring"
            },
            {
                "BLKABI025",
                Ring(
                    "<struct name=\"v\"><member name=\"op\" type=\"uint8_t\"/>"
                        + "<member §name=\"id\" type=\"int64_t\"/></struct>"
                        + Variant
                ),
                "rename one"
            },
            {
                "BLKABI008",
                Ring(
                    "<struct name=\"v\"><member name=\"op\" type=\"uint8_t\"/>"
                        + "<member §name=\"ID\" type=\"uint64_t\"/></struct>"
                        + Variant
                ),
                "the C# name of id in q"
            },
            {
                "BLKABI026",
                Ring(
                    "<struct name=\"inner\"><member name=\"a\" type=\"uint32_t\"/>"
                        + "<member name=\"b\" type=\"uint64_t\"/></struct><struct name=\"m\">"
                        + "<member name=\"i\" §type=\"inner\"/></struct>"
                        + "<ring name=\"demo\" header=\"h\" request=\"m\" response=\"r\"/>"
                ),
                "list its members"
            },
        };

    private static readonly string[] Indexes = ["req_prod", "req_event", "rsp_prod", "rsp_event"];

    private const string Variant =
        "<ring name=\"demo\" header=\"h\" request=\"q\" response=\"r\">"
        + "<variant struct=\"v\" when=\"op\" is=\"1\"/></ring>";

    [Theory]
    [MemberData(nameof(Mistakes))]
    public void A_mistake_is_told_where_it_is_and_what_to_do(string id, string marked, string advice)
    {
        string before = marked[..marked.IndexOf('§', StringComparison.Ordinal)];
        int line = before.Count(c => c == '\n');
        int column = before.Length - (before.LastIndexOf('\n') + 1);

        GeneratorRunResult result = GeneratorKit.Run(
            new SpecFile("demo.xml", marked.Replace("§", "", StringComparison.Ordinal))
        );

        // A cycle is told at each type on it, so there may be more than one; the first is the marked one.
        Diagnostic found = result.Diagnostics.First(d => d.Id == id);
        FileLinePositionSpan where = found.Location.GetLineSpan();
        Assert.Equal(
            ("demo.xml", line, column),
            (where.Path, where.StartLinePosition.Line, where.StartLinePosition.Character)
        );
        Assert.Contains(advice, found.GetMessage(CultureInfo.InvariantCulture), StringComparison.Ordinal);
        Assert.Empty(result.GeneratedSources);
    }

    [Fact]
    public void A_protocol_in_two_files_is_told_in_the_second()
    {
        var blkif = SpecFile.OfTheProject("blkif.xml");
        GeneratorRunResult result = GeneratorKit.Run(
            blkif,
            new SpecFile("copy.xml", "\n" + DemoSpec.Of("").Replace("demo\"", "BLKIF\"", StringComparison.Ordinal))
        );

        Diagnostic found = Assert.Single(result.Diagnostics);
        Assert.Equal(
            ("BLKABI028", "copy.xml", 1, 1),
            (
                found.Id,
                found.Location.GetLineSpan().Path,
                found.Location.GetLineSpan().StartLinePosition.Line,
                found.Location.GetLineSpan().StartLinePosition.Character
            )
        );
        Assert.Contains(
            "already declared in blkif.xml; give each protocol one spec file",
            found.GetMessage(CultureInfo.InvariantCulture),
            StringComparison.Ordinal
        );
        Assert.Contains(result.GeneratedSources, s => s.HintName == "Blkif.Structs.g.cs");
    }

    [Fact]
    public void A_broken_spec_does_not_stop_another()
    {
        GeneratorRunResult result = GeneratorKit.Run(
            new SpecFile("broken.xml", "<protocol"),
            SpecFile.OfTheProject("grant_table.xml")
        );

        Assert.Single(result.Diagnostics);
        Assert.All(
            result.GeneratedSources,
            s => Assert.StartsWith("GrantTable.", s.HintName, StringComparison.Ordinal)
        );
        Assert.NotEmpty(result.GeneratedSources);
    }

    [Fact]
    public void Every_diagnostic_is_tested_documented_and_released()
    {
        string[] ids =
        [
            .. typeof(Descriptors)
                .GetFields(BindingFlags.Public | BindingFlags.Static)
                .Select(f => ((DiagnosticDescriptor)f.GetValue(null)!).Id),
        ];

        Assert.Equal(ids.Length, ids.Distinct().Count());
        Assert.Equal(ids.Order(), Mistakes().Select(m => m.Data.Item1).Append("BLKABI028").Distinct().Order());
        Assert.Equal(ids.Order(), IdsIn("diagnostics.md"));
        Assert.Equal(
            ids.Order(),
            IdsIn("AnalyzerReleases.Shipped.md").Concat(IdsIn("AnalyzerReleases.Unshipped.md")).Order()
        );
    }

    /// <summary>
    /// Random edits of a good spec: whatever they make of it, the generator answers with diagnostics or code that
    /// compiles.
    /// </summary>
    [Fact]
    public void No_edit_of_a_spec_makes_the_generator_throw_or_emit_what_does_not_compile()
    {
        string spec = SpecFile.OfTheProject("blkif.xml").GetText(TestContext.Current.CancellationToken).ToString();
        string[] splinters =
        [
            "\"",
            "<",
            ">",
            "/",
            "&",
            "name",
            "count=\"9\"",
            "offset=\"8\"",
            "uint64_t",
            "x86_32",
            "0x",
            "-",
            "_",
            "blkif_request",
            "\0",
            "é",
            " ",
        ];
        var random = new Random(20);
        int emitted = 0;
        for (int run = 0; run < 400; run++)
        {
            int at = random.Next(spec.Length);
            int cut = Math.Min(random.Next(3) == 0 ? random.Next(200) : random.Next(3), spec.Length - at);
            string edited =
                spec[..at] + (random.Next(3) == 0 ? "" : splinters[random.Next(splinters.Length)]) + spec[(at + cut)..];
            ImmutableArray<GeneratedSourceResult> sources = GeneratorKit
                .Run(new SpecFile("blkif.xml", edited))
                .GeneratedSources;
            if (sources.Length > 0 && emitted++ < 40)
                GeneratorKit.Compile([new SpecFile("blkif.xml", edited)]);
        }
        Assert.InRange(emitted, 40, 399);
    }

    private static IOrderedEnumerable<string> IdsIn(string file) =>
        File.ReadLines(Path.Combine(AppContext.BaseDirectory, "docs", file))
            .Where(line => line.TrimStart('|', ' ').StartsWith("BLKABI", StringComparison.Ordinal))
            .Select(line => line.TrimStart('|', ' ')[..9])
            .Order();

    private static string Demo(string body) => DemoSpec.Of(body);

    private static string Ring(string body) => DemoSpec.Of(DemoSpec.RingStructs + body);

    // s0 holds an integer, each next one the one before; the last is one too deep.
    private static string Nested(int depth)
    {
        string mark = depth == 16 ? "§" : "";
        string inner = depth == 0 ? "uint8_t" : $"s{depth - 1}";
        return $"<struct {mark}name=\"s{depth}\"><member name=\"a\" type=\"{inner}\"/></struct>\n";
    }

    private static string Header(string padType, int padCount, string abi = "") =>
        "<struct name=\"g\">"
        + string.Concat(Indexes.Select(i => $"<member name=\"{i}\" type=\"uint32_t\"/>"))
        + $"<member name=\"pad\" type=\"{padType}\" count=\"{padCount}\"{abi}/></struct>";
}
