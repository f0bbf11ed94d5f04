using Blkring.Generators.Layout;
using Blkring.Generators.Model;
using Blkring.Generators.Parsing;
using Microsoft.CodeAnalysis.Text;

namespace Blkring.Generators.Tests;

public sealed class LayoutCalculatorTests
{
    [Fact]
    public void A_64_bit_member_is_aligned_as_the_ABI_says()
    {
        (TypeLayout native, TypeLayout x86) = Both(
            "<struct name=\"s\"><member name=\"a\" type=\"uint8_t\"/>"
                + "<member name=\"b\" type=\"int64_t\"/><member name=\"c\" type=\"uint8_t\"/></struct>"
        );

        Assert.Equal("0, 8, 16; size 24, alignment 8", Shape(native));
        Assert.Equal("0, 4, 12; size 16, alignment 4", Shape(x86));
        Assert.False(native.IsShared);
    }

    [Fact]
    public void A_struct_alike_in_every_ABI_is_shared_though_its_alignment_differs()
    {
        (TypeLayout native, TypeLayout x86) = Both(
            "<struct name=\"s\"><member name=\"a\" type=\"uint64_t\"/><member name=\"b\" type=\"uint64_t\"/></struct>"
        );

        Assert.Equal("0, 8; size 16, alignment 8", Shape(native));
        Assert.Equal("0, 8; size 16, alignment 4", Shape(x86));
        Assert.True(native.IsShared && x86.IsShared);
    }

    [Fact]
    public void A_struct_of_some_ABIs_is_laid_out_in_these_alone()
    {
        ProtocolLayout layout = LayoutCalculator
            .Calculate(
                Read(
                    "<struct name=\"t\" abi=\"x86_32\"><member name=\"a\" type=\"uint64_t\"/></struct>"
                        + "<struct name=\"s\"><member name=\"n\" type=\"uint8_t\"/>"
                        + "<member name=\"t\" type=\"t\" abi=\"x86_32\"/></struct>"
                )
            )
            .Layout!;

        Assert.Equal(["s", "t s"], layout.Abis.Select(abi => string.Join(' ', abi.Types.Select(t => t.CName))));
        Assert.Equal("0; size 1, alignment 1", Shape(layout.Abis[0].Types[0]));
        Assert.Equal("0, 4; size 12, alignment 4", Shape(layout.Abis[1].Types[1]));
        Assert.Empty(layout.SharedTypes);
    }

    [Fact]
    public void An_array_has_its_elements_alignment_and_a_constants_count()
    {
        (TypeLayout native, _) = Both(
            "<constant name=\"N\" value=\"0x3\"/><struct name=\"s\"><member name=\"a\" type=\"uint8_t\"/>"
                + "<member name=\"b\" type=\"uint16_t\" count=\"N\"/></struct>"
        );

        Assert.Equal("0, 2; size 8, alignment 2", Shape(native));
        Assert.Equal(
            (3, 2, "SBArray"),
            (native.Fields[1].Count, native.Fields[1].ElementSize, native.Fields[1].TypeName)
        );
    }

    [Fact]
    public void A_packed_types_members_are_aligned_to_its_pack_at_most()
    {
        const string Members =
            "<member name=\"a\" type=\"uint8_t\"/><member name=\"b\" type=\"uint64_t\"/>"
            + "<member name=\"c\" type=\"char\"/></struct>";

        Assert.Equal("0, 1, 9; size 10, alignment 1", Shape(Both("<struct name=\"s\" pack=\"1\">" + Members).Native));
        Assert.Equal("0, 2, 10; size 12, alignment 2", Shape(Both("<struct name=\"s\" pack=\"2\">" + Members).Native));
        Assert.Equal("0, 4, 12; size 16, alignment 4", Shape(Both("<struct name=\"s\" pack=\"8\">" + Members).X86));
    }

    [Theory]
    // They share bytes, also with what is no bit field.
    [InlineData("", "3:uint32_t 5:uint32_t 8:", "0.0 0.3 1.0; size 4, alignment 4", null)]
    // One that would reach over the end of its integer begins the next.
    [InlineData("", "20:uint32_t 20:uint32_t", "0.0 4.0; size 8, alignment 4", null)]
    [InlineData(" pack=\"1\"", "20:uint32_t 20:uint32_t", "0.0 2.4; size 5, alignment 1", null)]
    // Bits without a name take room and align nothing; of width 0 they end the integer.
    [InlineData("", "3:uint8_t _29:uint32_t", "0.0; size 4, alignment 1", null)]
    [InlineData("", "3:uint32_t _0:uint32_t 1:uint32_t", "0.0 4.0; size 8, alignment 4", null)]
    // A 64-bit integer is aligned to 4 bytes on i386, and its bits reach as far.
    [InlineData("", "30:uint32_t 40:uint64_t", "0.0 8.0; size 16, alignment 8", "0.0 4.0; size 12, alignment 4")]
    [InlineData("", "30:uint32_t 34:uint64_t", "0.0 3.6; size 8, alignment 8", "0.0 3.6; size 8, alignment 4")]
    public void Bit_fields_lie_where_C_puts_them(string pack, string widths, string native, string? x86)
    {
        // width:type, an underscore for one without a name, no width for a plain uint8_t.
        IEnumerable<string> members = widths
            .Split(' ')
            .Select(
                (part, i) =>
                    part.Split(':') switch
                    {
                        [['_', .. var bits], var type] => $"<skip type=\"{type}\" bits=\"{bits}\"/>",
                        ["8", ""] => $"<member name=\"m{i}\" type=\"uint8_t\"/>",
                        [var bits, var type] => $"<member name=\"m{i}\" type=\"{type}\" bits=\"{bits}\"/>",
                        _ => throw new InvalidOperationException(part),
                    }
            );

        (TypeLayout ofNative, TypeLayout ofX86) = Both($"<struct name=\"s\"{pack}>{string.Concat(members)}</struct>");

        Assert.Equal((native, x86 ?? native), (BitShape(ofNative), BitShape(ofX86)));
    }

    private static string BitShape(TypeLayout type) =>
        string.Join(" ", type.Fields.Select(f => $"{f.Offset}.{f.BitOffset}"))
        + $"; size {type.Size}, alignment {type.Alignment}";

    [Theory]
    [InlineData(
        "<struct name=\"s\"><member name=\"a\" type=\"uint8_t\"/>"
            + "<member name=\"b\" type=\"uint8_t\" align=\"16\"/></struct>",
        "0, 16; size 32, alignment 16"
    )]
    [InlineData(
        "<struct name=\"s\" align=\"16\"><member name=\"a\" type=\"uint8_t\"/>"
            + "<member name=\"b\" type=\"uint8_t\"/></struct>",
        "0, 1; size 16, alignment 16"
    )]
    [InlineData(
        "<struct name=\"s\" pack=\"1\"><member name=\"a\" type=\"uint8_t\"/>"
            + "<member name=\"b\" type=\"uint32_t\" align=\"4\"/></struct>",
        "0, 4; size 8, alignment 4"
    )]
    [InlineData(
        "<struct name=\"s\"><member name=\"a\" type=\"uint8_t\"/>"
            + "<member name=\"b\" type=\"uint32_t\" align=\"1\"/></struct>",
        "0, 1; size 5, alignment 1"
    )]
    [InlineData(
        "<struct name=\"s\"><member name=\"a\" type=\"uint8_t\"/>"
            + "<member name=\"b\" type=\"uint64_t\" align=\"8\"/></struct>",
        "0, 8; size 16, alignment 8"
    )]
    public void An_alignment_of_its_own_is_that_of_a_member_or_the_least_of_a_struct(string type, string shape)
    {
        (TypeLayout native, TypeLayout x86) = Both(type);

        Assert.Equal((shape, shape), (Shape(native), Shape(x86)));
    }

    [Fact]
    public void A_flexible_array_counts_for_the_alignment_and_not_for_the_size()
    {
        (TypeLayout native, TypeLayout x86) = Both(
            "<struct name=\"s\"><member name=\"n\" type=\"uint16_t\"/><tail name=\"t\" type=\"uint64_t\"/></struct>"
        );

        Assert.Equal(("0; size 8, alignment 8", 8, 8), (Shape(native), native.Tail!.Offset, native.Tail.ElementSize));
        Assert.Equal(("0; size 4, alignment 4", 4, 8), (Shape(x86), x86.Tail!.Offset, x86.Tail.ElementSize));
    }

    [Fact]
    public void A_type_without_a_tag_is_named_in_C_by_its_place()
    {
        (TypeLayout ofMember, _) = Both(
            "<struct name=\"o\"><member name=\"u\" type=\"s\"/></struct><union name=\"s\" path=\"o.u\">"
                + "<member name=\"a\" type=\"uint8_t\"/></union>"
        );
        (TypeLayout ofTypedef, _) = Both(
            "<struct name=\"s\" path=\"s\"><member name=\"a\" type=\"uint8_t\"/></struct>"
        );

        Assert.Equal(("__typeof__(((struct o *)0)->u)", "s"), (ofMember.CType, ofTypedef.CType));
    }

    [Fact]
    public void A_unions_members_overlap_and_the_largest_decides()
    {
        (TypeLayout native, _) = Both(
            "<union name=\"s\"><member name=\"a\" type=\"uint8_t\" count=\"5\"/>"
                + "<member name=\"b\" type=\"uint32_t\"/></union>"
        );

        Assert.Equal("0, 0; size 8, alignment 4", Shape(native));
    }

    [Fact]
    public void A_nested_struct_brings_its_alignment_and_its_difference_between_ABIs()
    {
        (TypeLayout native, TypeLayout x86) = Both(
            """
            <struct name="s"><member name="a" type="uint8_t"/><member name="b" type="inner_t" count="2"/></struct>
            <typedef name="inner_t" type="inner"/>
            <struct name="inner"><member name="c" type="uint32_t"/><member name="d" type="uint64_t"/></struct>
            """
        );

        Assert.Equal("0, 8; size 40, alignment 8", Shape(native));
        Assert.Equal("0, 4; size 28, alignment 4", Shape(x86));
    }

    [Fact]
    public void A_struct_is_not_shared_when_only_a_type_inside_it_differs()
    {
        (TypeLayout native, _) = Both(
            """
            <struct name="s"><member name="a" type="inner"/></struct>
            <union name="inner"><member name="c" type="uint64_t"/><member name="d" type="odd"/></union>
            <struct name="odd"><member name="e" type="uint32_t" offset="0"/>
              <member name="f" type="uint8_t" abi="x86_32"/></struct>
            """
        );

        Assert.False(native.IsShared);
    }

    [Fact]
    public void A_member_of_one_ABI_is_laid_out_in_that_one_only()
    {
        (TypeLayout native, TypeLayout x86) = Both(
            "<struct name=\"s\"><member name=\"a\" type=\"uint32_t\"/>"
                + "<member name=\"pad\" type=\"uint64_t\" abi=\"x86_32\"/></struct>"
        );

        Assert.Equal("0; size 4, alignment 4", Shape(native));
        Assert.Equal("0, 4; size 12, alignment 4", Shape(x86));
    }

    [Fact]
    public void An_explicit_offset_moves_a_member_and_what_follows_it()
    {
        (TypeLayout native, _) = Both(
            "<struct name=\"s\"><member name=\"a\" type=\"uint8_t\"/>"
                + "<member name=\"b\" type=\"uint16_t\" offset=\"16\"/><member name=\"c\" type=\"uint8_t\"/>"
                + "</struct>"
        );

        Assert.Equal("0, 16, 18; size 20, alignment 2", Shape(native));
    }

    [Theory]
    [InlineData("BLKIF_OP_FLUSH_DISKCACHE", "blkif", "OpFlushDiskcache")]
    [InlineData("BLKIF_RSP_EOPNOTSUPP", "blkif", "RspEopnotsupp")]
    [InlineData("XEN_IO_PROTO_ABI_X86_32", "blkif", "XenIoProtoAbiX86_32")]
    [InlineData("VDISK_CDROM", "blkif", "VdiskCdrom")]
    [InlineData("blkif_request_segment", "blkif", "RequestSegment")]
    [InlineData("GTF_permit_access", "grant_table", "GtfPermitAccess")]
    [InlineData("grant_entry_v1", "grant_table", "GrantEntryV1")]
    [InlineData("__pad", "blkif", "Pad")]
    [InlineData("grantRef", "blkif", "GrantRef")]
    public void C_names_become_CSharp_names_by_rule(string cName, string protocol, string name) =>
        Assert.Equal(name, CSharpName.WithoutPrefix(cName, protocol));

    [Theory]
    [InlineData("0", 0)]
    [InlineData("-2", -2)]
    [InlineData("0x10", 16)]
    [InlineData("18446744073709551615", ulong.MaxValue)]
    [InlineData("0xFFFFFFFFFFFFFFFF", ulong.MaxValue)]
    [InlineData("", null)]
    [InlineData("-0x1", null)]
    [InlineData("1 ", null)]
    [InlineData("+1u", null)]
    [InlineData("18446744073709551616", null)]
    public void Numbers_are_decimal_or_hexadecimal(string text, object? value) =>
        Assert.Equal(
            value is null ? null : Convert.ToDecimal(value, System.Globalization.CultureInfo.InvariantCulture),
            CNumber.Parse(text)
        );

    [Fact]
    public void How_a_text_is_wrapped_and_what_comments_say_is_no_part_of_the_model()
    {
        ProtocolSpec one = Read(
            "<struct name=\"s\">A run\n   of sectors.<member name=\"a\" type=\"uint8_t\">First.</member></struct>"
        );
        ProtocolSpec other = Read(
            "<!-- a remark -->"
                + "\n\n<struct  name='s'>A run of sectors.\n<member name=\"a\"\n type=\"uint8_t\"> First. </member>"
                + "</struct>"
        );

        Assert.Equal(one, other);
        Assert.Equal("A run of sectors.", one.Composites[0].Doc);
    }

    private static (TypeLayout Native, TypeLayout X86) Both(string body)
    {
        ProtocolLayout layout = LayoutCalculator.Calculate(Read(body)).Layout!;
        return (layout.Abis[0].Types.Single(t => t.CName == "s"), layout.Abis[1].Types.Single(t => t.CName == "s"));
    }

    private static ProtocolSpec Read(string body)
    {
        SpecReading reading = SpecReader.Read("demo.xml", SourceText.From(DemoSpec.Of(body)), CancellationToken.None);
        Assert.Empty(reading.Problems);
        return reading.Spec!;
    }

    private static string Shape(TypeLayout type) =>
        $"{string.Join(", ", type.Fields.Select(f => f.Offset))}; size {type.Size}, alignment {type.Alignment}";
}
