using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Xml.Linq;
using Blkring.AbiTools.Layouts;
using Blkring.Tests.Kit;

namespace Blkring.AbiTools.Tests;

/// <summary>Each way of showing a layout shows the same one.</summary>
public sealed class OutputTests
{
    [Fact]
    public void The_shipped_specs_are_blkif_and_grant_table_in_three_ABIs()
    {
        Assert.Superset(
            new HashSet<string> { "blkif", "grant_table" },
            AbiSource.Shipped().Select(s => s.Model.Protocol).ToHashSet()
        );
        Assert.Superset(new HashSet<string> { "native", "x86_32", "x86_64" }, SampleSpecs.Blkif.Model.Abis.ToHashSet());
    }

    [Fact]
    public void Json_has_the_members_that_machines_were_promised_and_no_others()
    {
        string json = LayoutJson.Write([SampleSpecs.Blkif.Model], new AbiSelection("x86_32", "blkif_request"));

        JsonElement row = Assert.Single(JsonDocument.Parse(json).RootElement.EnumerateArray());
        Assert.Equal(["struct", "abi", "size", "alignment", "members"], row.EnumerateObject().Select(p => p.Name));
        Assert.Equal(
            ("blkif_request", "x86_32", 108, 4),
            (
                row.GetProperty("struct").GetString(),
                row.GetProperty("abi").GetString(),
                row.GetProperty("size").GetInt32(),
                row.GetProperty("alignment").GetInt32()
            )
        );
        JsonElement seg = row.GetProperty("members")[5];
        Assert.Equal(["name", "type", "offset", "size"], seg.EnumerateObject().Select(p => p.Name));
        Assert.Equal(
            ("seg", "struct blkif_request_segment[11]", 20, 88),
            (
                seg.GetProperty("name").GetString(),
                seg.GetProperty("type").GetString(),
                seg.GetProperty("offset").GetInt32(),
                seg.GetProperty("size").GetInt32()
            )
        );
    }

    [Fact]
    public void C_declarations_stand_though_a_constant_has_the_name_of_a_member()
    {
        AbiSource source = SampleSpecs.Of(
            "<constant name=\"id\" value=\"3\"/><constant name=\"T\" string=\"a&quot;\\&#10;\"/>"
                + "<struct name=\"s\"><member name=\"id\" type=\"uint32_t\"/></struct>"
        );

        string c = CDeclarations.Write([source], SampleSpecs.Everything);

        Assert.True(
            c.IndexOf("uint32_t id;", StringComparison.Ordinal) < c.IndexOf("#define id 3\n", StringComparison.Ordinal)
        );
        Assert.EndsWith("#define T \"a\\\"\\\\\\n\"\n", c, StringComparison.Ordinal);
    }

    [Fact]
    public void Json_of_a_bit_field_has_its_bits()
    {
        AbiSource source = SampleSpecs.Of(
            "<struct name=\"s\"><member name=\"low\" type=\"uint32_t\" bits=\"3\"/>"
                + "<member name=\"high\" type=\"uint32_t\" bits=\"9\"/></struct>"
        );

        JsonElement high = JsonDocument
            .Parse(LayoutJson.Write([source.Model], new AbiSelection("x86_32", "s")))
            .RootElement[0]
            .GetProperty("members")[1];

        Assert.Equal(
            ["name", "type", "offset", "size", "bitOffset", "bitWidth"],
            high.EnumerateObject().Select(p => p.Name)
        );
        Assert.Equal(
            (0, 2, 3, 9),
            (
                high.GetProperty("offset").GetInt32(),
                high.GetProperty("size").GetInt32(),
                high.GetProperty("bitOffset").GetInt32(),
                high.GetProperty("bitWidth").GetInt32()
            )
        );
    }

    [Fact]
    public void The_byte_map_has_a_cell_for_each_bit_field()
    {
        AbiSource source = SampleSpecs.Of(
            "<struct name=\"s\"><member name=\"low\" type=\"uint8_t\" bits=\"3\"/>"
                + "<member name=\"high\" type=\"uint8_t\" bits=\"4\"/></struct>"
        );

        string[] tips =
        [
            .. XDocument
                .Parse(ByteMap.Write([source.Model], SampleSpecs.Everything))
                .Descendants()
                .Where(e => e.Name.LocalName == "title")
                .Select(e => e.Value),
        ];

        Assert.Equal(["uint8_t low: 3 bits at 0. ", "uint8_t high: 4 bits at 0.3. ", "1 bit unused at 0.7"], tips);
    }

    public static TheoryData<string> Protocols() =>
        [.. EveryProtocol.Select(s => s.Model.Protocol).Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Protocols))]
    public void C_declarations_have_the_layout_on_any_machine(string protocol)
    {
        AbiSource source = EveryProtocol.Single(s => s.Model.Protocol == protocol);
        StringBuilder program = new(CDeclarations.Write([source], SampleSpecs.Everything));
        program.Append("#include <stdio.h>\nint main(void)\n{\n");
        foreach (AbiStruct type in source.Model.Structs)
        {
            string name = $"{type.CName}_{type.Abi}";
            Print(program, $"{type.Name} {type.Abi}", $"sizeof({name})", $"_Alignof({name})");
            foreach (AbiMember member in type.Members.Where(m => m.BitWidth is null))
                Print(
                    program,
                    $"{type.Name} {type.Abi} {member.Name}",
                    $"offsetof({name}, {member.Name})",
                    member.Size == 0 ? "0" : $"sizeof((({name} *)0)->{member.Name})"
                );
        }
        string text = program.Append("    return 0;\n}\n").ToString();

        string[] expected = [.. source.Model.Structs.SelectMany(Facts)];
        Assert.Equal(expected, RunC(text, "-m32"));
        Assert.Equal(expected, RunC(text, "-m64"));
    }

    /// <summary>Those that are shipped, those imported for the tests, and one that is awkward on purpose.</summary>
    private static IReadOnlyList<AbiSource> EveryProtocol { get; } =
    [
        .. AbiSource.Shipped(),
        Awkward,
        .. Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "specs"), "*.xml").Select(AbiSource.Read),
    ];

    /// <summary>
    /// What C would lay out otherwise without a hint: a gap that the spec puts there, a union, nesting, packing, a
    /// flexible array.
    /// </summary>
    private static AbiSource Awkward =>
        SampleSpecs.Of(
            """
            <constant name="DEMO_LEAST" value="-9223372036854775808"/>
              <constant name="DEMO_MOST" value="18446744073709551615"/>
            <union name="demo_value"><member name="wide" type="int64_t"/>
              <member name="bytes" type="uint8_t" count="9"/></union>
            <struct name="demo_outer"><member name="a" type="uint8_t"/><member name="b" type="uint16_t" offset="10"/>
              <member name="v" type="demo_value" count="3"/></struct>
            <struct name="demo_bits"><member name="a" type="uint8_t" bits="3"/><skip type="uint32_t" bits="0"/>
              <member name="b" type="uint64_t" bits="40"/><member name="c" type="uint16_t"/></struct>
            <struct name="demo_aligned" align="32"><member name="a" type="uint8_t"/>
              <member name="b" type="uint32_t" align="16"/><member name="c" type="demo_bits"/></struct>
            <struct name="demo_packed" pack="2"><member name="a" type="uint8_t"/><member name="b" type="uint64_t"/>
              <tail name="rest" type="uint16_t"/></struct>
            """
        );

    private static IEnumerable<string> Facts(AbiStruct type) =>
        type
            .Members.Where(m => m.BitWidth is null)
            .Select(m => FormattableString.Invariant($"{type.Name} {type.Abi} {m.Name} {m.Offset} {m.Size}"))
            .Prepend(FormattableString.Invariant($"{type.Name} {type.Abi} {type.Size} {type.Alignment}"));

    private static void Print(StringBuilder c, string what, string first, string second) =>
        c.Append(CultureInfo.InvariantCulture, $"    printf(\"{what} %d %d\\n\", (int){first}, (int){second});\n");

    private static string[] RunC(string source, string machine) =>
        CCompiler.RunProgram(source, [machine, "-std=c11", "-Wall", "-Wextra", "-Werror", "-Wno-unused"]);

    [Fact]
    public void CSharp_of_one_struct_and_ABI_is_that_declaration_alone()
    {
        string code = GeneratedCSharp.Write(SampleSpecs.Blkif, new AbiSelection("x86_32", "blkif_response"));

        Assert.StartsWith(
            "// Blkif.Abi.X86_32.g.cs\n/// <summary>struct blkif_response,",
            code,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "[StructLayout(LayoutKind.Explicit, Size = 12, Pack = 4)]\npublic struct Response\n{\n",
            code,
            StringComparison.Ordinal
        );
        Assert.EndsWith("    public short Status;\n}\n\n", code, StringComparison.Ordinal);
    }

    [Fact]
    public void CSharp_of_one_ABI_leaves_out_the_files_of_the_others()
    {
        string code = GeneratedCSharp.Write(SampleSpecs.Blkif, new AbiSelection("x86_32", Struct: null));

        string[] files = [.. code.Split('\n').Where(line => line.StartsWith("// Blkif.", StringComparison.Ordinal))];
        Assert.Contains("// Blkif.Abi.X86_32.g.cs", files);
        Assert.Contains("// Blkif.Ring.Back.g.cs", files);
        Assert.DoesNotContain(
            files,
            file =>
                file.Contains("X86_64", StringComparison.Ordinal) || file.Contains("Native", StringComparison.Ordinal)
        );
    }

    [Fact]
    public void The_byte_map_is_a_picture_with_every_member_at_its_place()
    {
        var svg = XDocument.Parse(
            ByteMap.Write([SampleSpecs.Blkif.Model], new AbiSelection(Abi: null, "blkif_request"))
        );

        string[] texts = [.. svg.Descendants().Where(e => e.Name.LocalName == "text").Select(e => e.Value)];
        // Two rows: native and x86_64 lie alike.
        Assert.Equal(
            ["108 bytes", "112 bytes"],
            texts.Where(t => t.EndsWith(" bytes", StringComparison.Ordinal)).Order()
        );
        foreach (string name in new[] { "operation", "nr_segments", "handle", "id", "sector_number", "seg" })
            Assert.Equal(2, texts.Count(t => t == name));
        Assert.Contains("x86_32", texts);
        // Every cell lies within the picture.
        double width = double.Parse(svg.Root!.Attribute("width")!.Value, CultureInfo.InvariantCulture);
        Assert.All(
            svg.Descendants().Where(e => e.Name.LocalName == "rect" && e.Attribute("x") is not null),
            cell =>
                Assert.True(
                    double.Parse(cell.Attribute("x")!.Value, CultureInfo.InvariantCulture)
                        + double.Parse(cell.Attribute("width")!.Value, CultureInfo.InvariantCulture)
                        <= width
                )
        );
    }

    [Theory]
    [InlineData("arm", null, "there is no ABI 'arm': give one of native, x86_32, x86_64")]
    [InlineData(null, "blkif_requests", "there is no struct 'blkif_requests': give one of blkif_request_segment")]
    public void A_name_that_no_spec_has_is_refused_with_those_there_are(string? abi, string? type, string expected)
    {
        SpecException refused = Assert.Throws<SpecException>(() =>
            new AbiSelection(abi, type).Check([SampleSpecs.Blkif])
        );

        Assert.StartsWith(expected, refused.Message, StringComparison.Ordinal);
    }
}
