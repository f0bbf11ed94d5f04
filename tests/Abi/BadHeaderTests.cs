using System.Text;

namespace Blkring.AbiTools.Tests;

/// <summary>Headers that are wrong, or hold what no shared layout can: each refused in one line that says where and why, or read right.</summary>
public sealed class BadHeaderTests : IDisposable
{
    private readonly Headers _headers = new();

    public void Dispose() => _headers.Dispose();

    [Fact]
    public void A_header_that_does_not_parse_is_named_with_its_line()
    {
        string message = _headers.Refusal("io/a.h", "struct a {\n    uint42_t x;\n};\n");

        Assert.StartsWith("io/a.h:2: unknown type name 'uint42_t'", message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_header_that_is_not_there_is_named()
    {
        var error = Assert.Throws<HeaderImportException>(() => Headers.Import("/nowhere/a.h"));

        Assert.Equal("/nowhere/a.h: there is no such file", error.Message);
    }

    [Fact]
    public void An_empty_header_is_refused() =>
        Assert.EndsWith("io/a.h: the header defines no struct, union, enum or constant", _headers.Refusal("io/a.h", ""), StringComparison.Ordinal);

    [Fact]
    public void Bytes_that_are_no_text_are_refused() =>
        Assert.StartsWith("io/a.h:1: ", _headers.Refusal("io/a.h", "\u0001\u0002\ufffd\0\0struct"), StringComparison.Ordinal);

    [Fact]
    public void A_struct_that_contains_itself_is_refused() =>
        Assert.StartsWith("io/a.h:2: field has incomplete type", _headers.Refusal("io/a.h", "struct a {\n    struct a inner;\n};\n"), StringComparison.Ordinal);

    [Theory]
    [InlineData("    struct a *next;", "a.next is a pointer")]
    [InlineData("    uint32_t low : 4; uint32_t high : 28; uint8_t next;", "a.bits_1 cannot be proved")]
    [InlineData("    float ratio;", "a.ratio has the type float")]
    [InlineData("    uint8_t none[0]; uint8_t behind;", "a.none is an array without a length that is not the last member")]
    [InlineData("    uint32_t aligned __attribute__((aligned(16)));", "a.aligned cannot be proved")]
    [InlineData("    uint8_t ToString;", "'ToString' becomes 'ToString' in C#")]
    public void A_member_without_a_shared_layout_is_named(string member, string words)
    {
        string message = _headers.Refusal("io/a.h", $"struct a {{\n    uint8_t first;\n{member}\n}};\n");

        Assert.StartsWith("io/a.h:3: ", message, StringComparison.Ordinal);
        Assert.Contains(words, message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_packed_struct_keeps_its_layout()
    {
        string spec = Headers.Import(_headers.Write("io/packed.h", "struct a { uint8_t kind; uint64_t id; } __attribute__((packed));\n"));

        Assert.Contains("""<struct name="a" pack="1">""", spec, StringComparison.Ordinal);
    }

    [Fact]
    public void An_array_of_arrays_is_one_of_all_their_elements()
    {
        string spec = Headers.Import(_headers.Write("io/grid.h", "#define N 3\nstruct a { uint8_t first; uint16_t cells[2][N]; uint32_t last; };\n"));

        Assert.Contains("""<member name="cells" type="uint16_t" count="6"/>""", spec, StringComparison.Ordinal);
    }

    [Fact]
    public void A_union_without_a_name_gets_one_in_the_spec()
    {
        string spec = Headers.Import(_headers.Write("io/unnamed.h", """
            struct a {
                uint8_t kind;
                union {
                    uint16_t word;
                    struct { uint8_t low, high; };
                };
                uint8_t last;
            };
            """));

        Assert.Contains("""
              <struct name="a_unnamed_unnamed" unnamed="true">
                <member name="low" type="uint8_t"/>
                <member name="high" type="uint8_t"/>
              </struct>

              <union name="a_unnamed" unnamed="true">
                <member name="word" type="uint16_t"/>
                <member name="unnamed" path="low" type="a_unnamed_unnamed"/>
              </union>

              <struct name="a">
                <member name="kind" type="uint8_t"/>
                <member name="unnamed" path="word" type="a_unnamed"/>
                <member name="last" type="uint8_t"/>
              </struct>
            """, spec, StringComparison.Ordinal);
    }

    [Fact]
    public void Bit_fields_are_the_integer_that_holds_them()
    {
        string spec = Headers.Import(_headers.Write("io/bits.h", "struct a { uint32_t low : 3, high : 5, : 0; uint32_t other : 1; uint32_t last; };\n"));

        Assert.Contains("""
                <member name="bits_1" type="uint32_t">Bit fields. low: 3 from bit 0. high: 5 from bit 3.</member>
                <member name="bits_2" type="uint32_t">Bit fields. other: 1 from bit 0.</member>
                <member name="last" type="uint32_t"/>
            """, spec, StringComparison.Ordinal);
    }

    [Fact]
    public void A_member_within_the_integer_of_bit_fields_is_refused() =>
        Assert.StartsWith("io/a.h:1: a.last cannot be proved", _headers.Refusal("io/a.h", "struct a { uint32_t low : 3; uint8_t last; };\n"), StringComparison.Ordinal);

    [Fact]
    public void A_bit_field_across_two_integers_is_refused() =>
        Assert.StartsWith("io/a.h:1: a.high is a bit field across two integers", _headers.Refusal("io/a.h", "struct a { uint32_t low : 20, high : 20; } __attribute__((packed));\n"), StringComparison.Ordinal);

    [Fact]
    public void A_flexible_array_is_a_tail()
    {
        string spec = Headers.Import(_headers.Write("io/a.h", "struct a { uint16_t n; uint32_t refs[]; };\n"));

        Assert.Contains("""<tail name="refs" type="uint32_t"/>""", spec, StringComparison.Ordinal);
    }

    [Fact]
    public void A_name_that_is_a_keyword_of_CSharp_is_a_name_like_others()
    {
        string spec = Headers.Import(_headers.Write("io/a.h", "struct event { uint8_t in; uint8_t out; uint8_t namespace; };\n"));

        Assert.Contains("""<member name="namespace" type="uint8_t"/>""", spec, StringComparison.Ordinal);
    }

    [Fact]
    public void A_header_of_the_years_before_Arm_and_SPDX_imports_for_x86()
    {
        // In the style of Xen 3.4: no licence tag, no includes of its own, typedefs for tags, and an error for any other machine.
        _headers.Write("xen/include/public/xen.h", """
            #if !defined(__i386__) && !defined(__x86_64__)
            #error "Unsupported architecture"
            #endif
            typedef uint16_t domid_t;
            """);
        _headers.Write("xen/include/public/io/ring.h", """
            typedef unsigned int RING_IDX;
            #define DEFINE_RING_TYPES(__name, __req_t, __rsp_t)                     \
            union __name##_sring_entry { __req_t req; __rsp_t rsp; };               \
            struct __name##_sring {                                                 \
                RING_IDX req_prod, req_event;                                       \
                RING_IDX rsp_prod, rsp_event;                                       \
                uint8_t  pad[48];                                                   \
                union __name##_sring_entry ring[1]; /* variable-length */           \
            };                                                                      \
            struct __name##_front_ring { struct __name##_sring *sring; };           \
            typedef struct __name##_sring __name##_sring_t
            """);
        string spec = Headers.Import(_headers.Write("xen/include/public/io/old.h", """
            #include "ring.h"
            struct old_request { domid_t domain; uint64_t id; } __attribute__((packed));
            typedef struct old_request old_request_t;
            typedef struct { uint64_t id; int16_t status; } old_response_t;
            DEFINE_RING_TYPES(old, old_request_t, old_response_t);
            """));

        Assert.Contains("""<struct name="old_request" pack="1">""", spec, StringComparison.Ordinal);
        Assert.Contains("""<struct name="old_response_t" path="old_response_t">""", spec, StringComparison.Ordinal);
        Assert.Contains("""<member name="pad" type="uint8_t" count="48">""", spec, StringComparison.Ordinal);
        Assert.Contains("""<ring name="old" header="old_sring" request="old_request" response="old_response_t"/>""", spec, StringComparison.Ordinal);
    }

    [Fact]
    public void A_header_of_ten_megabytes_imports()
    {
        var text = new StringBuilder();
        for (int i = 0; text.Length < 10_000_000; i++)
            text.Append("/* Line ").Append(i).Append(" of a comment that goes on, and says nothing that a person would want to read. */\n");
        text.Append("struct a {\n\n    uint32_t x;\n};\n");

        string spec = Headers.Import(_headers.Write("io/a.h", text.ToString()));

        Assert.Contains("""<member name="x" type="uint32_t"/>""", spec, StringComparison.Ordinal);
    }
}
