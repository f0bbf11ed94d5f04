using System.Text.Json;
using Blkring.AbiTools.Diff;
using Blkring.AbiTools.Layouts;

namespace Blkring.AbiTools.Tests;

/// <summary>What is told of two versions, and what of it breaks the wire.</summary>
public sealed class ComparisonTests
{
    private const string Old = """
        <constant name="DEMO_A" value="1"/><constant name="DEMO_T" string="x86_32-abi"/>
        <typedef name="gref_t" type="uint32_t"/>
        <struct name="demo_s">
          <member name="op" type="uint8_t"/><member name="id" type="uint64_t"/>
          <member name="gref" type="gref_t" count="4"/><member name="pad" type="uint32_t" abi="x86_32"/>
        </struct>
        """;

    [Fact]
    public void The_same_twice_is_identical()
    {
        AbiComparison comparison = Compare(Old, Old);

        Assert.Equal(
            ("identical", true, true),
            (comparison.Verdict, comparison.IsIdentical, comparison.IsWireCompatible)
        );
    }

    [Theory]
    // Fine: nothing that both know has moved.
    [InlineData(
        "<constant name=\"DEMO_A\"",
        "<constant name=\"DEMO_B\" value=\"2\"/><constant name=\"DEMO_A\"",
        "constant-added",
        "constant added, 2",
        true
    )]
    [InlineData("name=\"pad\"", "name=\"reserved\"", "member-renamed", "renamed to reserved, 4 bytes at 28", true)]
    [InlineData(
        "<struct",
        "<struct name=\"demo_n\"><member name=\"a\" type=\"uint8_t\"/></struct><struct",
        "struct-added",
        "struct added",
        true
    )]
    [InlineData(
        "<typedef",
        "<typedef name=\"other_t\" type=\"gref_t\"/><typedef",
        "typedef-added",
        "typedef added, uint32_t",
        true
    )]
    [InlineData(
        "type=\"gref_t\" count",
        "type=\"uint32_t\" count",
        "member-retyped",
        "type gref_t[4] -> uint32_t[4], 16 bytes at 16",
        true
    )]
    [InlineData(
        "<member name=\"id\"",
        "<member name=\"flags\" type=\"uint8_t\"/><member name=\"id\"",
        "member-added",
        "added, uint8_t, 1 byte at 1, in what was a gap",
        true
    )]
    // Not fine.
    [InlineData("value=\"1\"", "value=\"3\"", "constant-changed", "constant changed, 1 -> 3", false)]
    [InlineData(
        "x86_32-abi",
        "i386-abi",
        "constant-changed",
        "constant changed, \"x86_32-abi\" -> \"i386-abi\"",
        false
    )]
    [InlineData("<constant name=\"DEMO_A\" value=\"1\"/>", "", "constant-removed", "constant removed, was 1", false)]
    [InlineData(
        "<member name=\"op\" type=\"uint8_t\"/>",
        "",
        "member-removed",
        "removed, was uint8_t, 1 byte at 0",
        false
    )]
    [InlineData(
        "<member name=\"op\"",
        "<member name=\"first\" type=\"uint64_t\"/><member name=\"op\"",
        "member-moved",
        "offset 8 -> 16, 8 bytes",
        false
    )]
    [InlineData("count=\"4\"", "count=\"5\"", "member-resized", "at 16, size 16 -> 20", false)]
    [InlineData(
        "name=\"id\" type=\"uint64_t\"",
        "name=\"id\" type=\"int64_t\"",
        "member-retyped",
        "type uint64_t -> int64_t, 8 bytes at 8",
        false
    )]
    [InlineData(
        "name=\"id\"",
        "name=\"handle\"",
        "member-renamed",
        "renamed to handle, 8 bytes at 8; check that it means the same",
        false
    )]
    [InlineData(
        "<member name=\"pad\" type=\"uint32_t\" abi=\"x86_32\"/>",
        "",
        "struct-resized",
        "size 32 -> 28",
        false
    )]
    [InlineData("<struct name=\"demo_s\"", "<struct name=\"demo_z\"", "struct-removed", "struct removed", false)]
    [InlineData(
        "<struct name=\"demo_s\"",
        "<struct name=\"demo_s\" abi=\"x86_32\"",
        "struct-removed",
        "struct removed",
        false
    )]
    [InlineData(
        "name=\"gref_t\" type=\"uint32_t\"",
        "name=\"gref_t\" type=\"int32_t\"",
        "typedef-changed",
        "typedef changed, uint32_t -> int32_t",
        false
    )]
    public void A_change_is_told_in_words_and_judged(
        string old,
        string edited,
        string kind,
        string text,
        bool isWireCompatible
    )
    {
        Assert.Contains(old, Old, StringComparison.Ordinal);

        AbiComparison comparison = Compare(Old, Old.Replace(old, edited, StringComparison.Ordinal));

        Assert.Contains(
            comparison.Differences,
            d => d.Kind == kind && d.Text == text && d.IsWireCompatible == isWireCompatible
        );
        Assert.Equal(isWireCompatible, comparison.IsWireCompatible);
        Assert.Equal(isWireCompatible ? "compatible" : "incompatible", comparison.Verdict);
    }

    [Fact]
    public void A_pad_of_one_ABI_that_is_gone_is_told_for_that_ABI_alone()
    {
        AbiComparison comparison = Compare(
            Old,
            Old.Replace("<member name=\"pad\" type=\"uint32_t\" abi=\"x86_32\"/>", "", StringComparison.Ordinal)
        );

        Assert.Equal(["struct-resized", "member-removed"], comparison.Differences.Select(d => d.Kind));
        Assert.All(comparison.Differences, d => Assert.Equal("x86_32", d.Abi));
        AbiDifference pad = comparison.Differences[1];
        Assert.Equal(("demo_s", "pad", 28, 4), (pad.Struct, pad.Member, pad.OldOffset, pad.OldSize));
    }

    [Fact]
    public void An_inserted_member_moves_what_follows_it_in_each_ABI()
    {
        AbiComparison comparison = Compare(
            Old,
            Old.Replace(
                "<member name=\"id\"",
                "<member name=\"n\" type=\"uint64_t\"/><member name=\"id\"",
                StringComparison.Ordinal
            )
        );

        AbiDifference[] moved = [.. comparison.Differences.Where(d => d is { Kind: "member-moved", Member: "id" })];
        Assert.Equal(
            [("x86_64", 8, 16), ("x86_32", 4, 12)],
            moved.Select(d => (d.Abi!, d.OldOffset!.Value, d.NewOffset!.Value))
        );
    }

    [Fact]
    public void A_struct_that_one_ABI_loses_is_told_for_that_ABI()
    {
        AbiDifference gone = Assert.Single(
            Compare(
                Old,
                Old.Replace("<struct", "<struct abi=\"x86_64\"", StringComparison.Ordinal)
                    .Replace(" abi=\"x86_32\"/>", "/>", StringComparison.Ordinal)
            ).Differences,
            d => d.Kind == "struct-removed"
        );

        Assert.Equal(("demo_s", "x86_32"), (gone.Struct, gone.Abi));
    }

    [Theory]
    // As Xen 4.19 wrote the arrays that end its page directories anew.
    [InlineData(
        "<member name=\"refs\" type=\"uint32_t\" count=\"1\"/>",
        "<tail name=\"refs\" type=\"uint32_t\"/>",
        "at 4, uint32_t[1] -> uint32_t[]: now of any length",
        true
    )]
    [InlineData(
        "<member name=\"refs\" type=\"uint32_t\" count=\"1\"/>",
        "<tail name=\"refs\" type=\"uint16_t\"/>",
        "at 4, size 4 -> 0",
        false
    )]
    [InlineData(
        "<member name=\"refs\" type=\"uint32_t\"/>",
        "<tail name=\"refs\" type=\"uint32_t\"/>",
        "at 4, size 4 -> 0",
        false
    )]
    public void An_array_at_the_end_may_get_any_length(string old, string edited, string text, bool isWireCompatible)
    {
        const string Start = "<struct name=\"s\"><member name=\"n\" type=\"uint32_t\"/>";

        AbiComparison comparison = Compare(Start + old + "</struct>", Start + edited + "</struct>");

        Assert.Contains(comparison.Differences, d => d.Kind == "member-resized" && d.Text == text);
        Assert.All(comparison.Differences, d => Assert.Equal(isWireCompatible, d.IsWireCompatible));
    }

    [Fact]
    public void A_union_may_get_another_view_of_its_bytes()
    {
        const string union = "<union name=\"u\"><member name=\"a\" type=\"uint32_t\"/></union>";
        string more = union.Replace(
            "</union>",
            "<member name=\"b\" type=\"uint8_t\" count=\"4\"/></union>",
            StringComparison.Ordinal
        );

        AbiComparison comparison = Compare(union, more);

        Assert.Equal(
            ["added, uint8_t[4], 4 bytes at 0, within the union"],
            comparison.Differences.Select(d => d.Text).Distinct()
        );
        Assert.Equal("compatible", comparison.Verdict);
    }

    [Theory]
    [InlineData("bits=\"3\"", "bits=\"4\"", "s.low", "at bit 0 of byte 0, 3 bits -> 4 bits", false)]
    [InlineData("bits=\"3\"", "bits=\"4\"", "s.high", "bit 3 of byte 0 -> bit 4 of byte 0, 2 bits", false)]
    [InlineData(
        "name=\"high\"",
        "name=\"top\"",
        "s.high",
        "renamed to top, 2 bits at bit 3 of byte 0; check that it means the same",
        false
    )]
    [InlineData(
        "<member name=\"last\"",
        "<member name=\"more\" type=\"uint8_t\" bits=\"1\"/><member name=\"last\"",
        "s.more",
        "added, uint8_t, 1 bit at bit 5 of byte 0, in what was a gap",
        true
    )]
    public void Bit_fields_are_compared_to_the_bit(
        string old,
        string edited,
        string subject,
        string text,
        bool isWireCompatible
    )
    {
        const string Bits =
            "<struct name=\"s\"><member name=\"low\" type=\"uint8_t\" bits=\"3\"/>"
            + "<member name=\"high\" type=\"uint8_t\" bits=\"2\"/><member name=\"last\" type=\"uint8_t\"/>"
            + "</struct>";

        AbiComparison comparison = Compare(Bits, Bits.Replace(old, edited, StringComparison.Ordinal));

        Assert.Contains(
            comparison.Differences,
            d => d.Subject == subject && d.Text == text && d.IsWireCompatible == isWireCompatible
        );
    }

    [Fact]
    public void What_a_ring_carries_is_compared()
    {
        AbiModel blkif = SampleSpecs.Blkif.Model;
        AbiRing ring = blkif.Rings[0];
        AbiModel edited = blkif with
        {
            Rings =
            [
                ring with
                {
                    Response = "blkif_answer",
                    Variants = [ring.Variants[0]],
                    Entries = [ring.Entries[0] with { Size = 128 }, .. ring.Entries.Skip(1)],
                },
            ],
        };

        AbiComparison comparison = AbiComparer.Compare([blkif], [edited]);

        Assert.Equal(
            ["ring-changed", "variant-removed", "ring-entry-resized"],
            comparison.Differences.Select(d => d.Kind)
        );
        Assert.Equal("ring's response changed, blkif_response -> blkif_answer", comparison.Differences[0].Text);
        Assert.Equal("incompatible", comparison.Verdict);
    }

    [Fact]
    public void A_protocol_that_is_new_is_fine_and_one_that_is_gone_is_not()
    {
        AbiModel[] one = [SampleSpecs.Blkif.Model];
        AbiModel[] two = [SampleSpecs.Blkif.Model, SampleSpecs.Of(Old).Model];

        Assert.Equal("compatible", AbiComparer.Compare(one, two).Verdict);
        Assert.Equal("incompatible", AbiComparer.Compare(two, one).Verdict);
    }

    [Fact]
    public void Json_says_the_verdict_and_leaves_out_what_does_not_apply()
    {
        JsonElement report = JsonDocument
            .Parse(DiffJson.Write(Compare(Old, Old.Replace("value=\"1\"", "value=\"3\"", StringComparison.Ordinal))))
            .RootElement;

        Assert.Equal("incompatible", report.GetProperty("verdict").GetString());
        JsonElement difference = Assert.Single(report.GetProperty("differences").EnumerateArray());
        Assert.Equal(
            ["kind", "protocol", "subject", "text", "isWireCompatible", "old", "new"],
            difference.EnumerateObject().Select(p => p.Name)
        );
        Assert.Equal(
            ("1", "3"),
            (difference.GetProperty("old").GetString(), difference.GetProperty("new").GetString())
        );
    }

    private static AbiComparison Compare(string old, string now) =>
        AbiComparer.Compare([SampleSpecs.Of(old).Model], [SampleSpecs.Of(now).Model]);
}
