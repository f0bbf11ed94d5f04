using System.Text;
using Blkring.AbiTools;
using Blkring.AbiTools.Import;

namespace Blkring.AbiImport.Tests;

/// <summary>
/// Headers that are wrong, or hold what no shared layout can: each refused in one line that says where and why, or read
/// right.
/// </summary>
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
    public void A_folder_is_no_header_and_a_header_no_folder()
    {
        string header = _headers.Write("io/a.h", "struct b { uint8_t n; };\n");
        string folder = Path.GetDirectoryName(header)!;

        Assert.Equal(
            $"{folder} is a folder: give the headers of one protocol",
            Assert.Throws<HeaderImportException>(() => Headers.Import(folder)).Message
        );
        Assert.Equal(
            $"{header} is not a folder: give -I a folder of headers",
            Assert
                .Throws<HeaderImportException>(() =>
                    HeaderImport.Import(new ImportOptions { Headers = [header], IncludeFolders = [header] })
                )
                .Message
        );
    }

    [Fact]
    public void An_empty_header_is_refused() =>
        Assert.EndsWith(
            "io/a.h: the header defines no struct, union, enum or constant",
            _headers.Refusal("io/a.h", ""),
            StringComparison.Ordinal
        );

    [Fact]
    public void Bytes_that_are_no_text_are_refused() =>
        Assert.StartsWith(
            "io/a.h:1: ",
            _headers.Refusal("io/a.h", "\u0001\u0002\ufffd\0\0struct"),
            StringComparison.Ordinal
        );

    [Fact]
    public void A_struct_that_contains_itself_is_refused() =>
        Assert.StartsWith(
            "io/a.h:2: field has incomplete type",
            _headers.Refusal("io/a.h", "struct a {\n    struct a inner;\n};\n"),
            StringComparison.Ordinal
        );

    [Theory]
    [InlineData("    float ratio;", "a.ratio has the type float")]
    [InlineData("    char sign : 3;", "a.sign is a bit field of char, whose sign differs between machines")]
    [InlineData("    _Bool yes : 1; double ratio;", "a.ratio has the type double")]
    [InlineData(
        "    uint8_t none[0]; uint8_t behind;",
        "a.none is an array without a length that is not the last member"
    )]
    [InlineData("    struct { int (*call)(void); uint8_t b; float c; } inner;", "a_inner.c has the type float")]
    public void A_member_without_a_shared_layout_is_named(string member, string words)
    {
        string message = _headers.Refusal("io/a.h", $"struct a {{\n    uint8_t first;\n{member}\n}};\n");

        Assert.StartsWith("io/a.h:3: ", message, StringComparison.Ordinal);
        Assert.Contains(words, message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_packed_struct_keeps_its_layout()
    {
        string spec = Headers.Import(
            _headers.Write("io/packed.h", "struct a { uint8_t kind; uint64_t id; } __attribute__((packed));\n")
        );

        Assert.Contains("""<struct name="a" pack="1">""", spec, StringComparison.Ordinal);
    }

    [Fact]
    public void An_array_of_arrays_is_one_of_all_their_elements()
    {
        string spec = Headers.Import(
            _headers.Write(
                "io/grid.h",
                "#define N 3\nstruct a { uint8_t first; uint16_t cells[2][N]; uint32_t last; };\n"
            )
        );

        Assert.Contains("""<member name="cells" type="uint16_t" count="6"/>""", spec, StringComparison.Ordinal);
    }

    [Fact]
    public void A_union_without_a_name_gets_one_in_the_spec()
    {
        string spec = Headers.Import(
            _headers.Write(
                "io/unnamed.h",
                """
                struct a {
                    uint8_t kind;
                    union {
                        uint16_t word;
                        struct { uint8_t low, high; };
                    };
                    uint8_t last;
                };
                """
            )
        );

        Assert.Contains(
            """
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
            """,
            spec,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void A_bit_field_has_its_width_and_one_without_a_name_is_skipped()
    {
        string spec = Headers.Import(
            _headers.Write(
                "io/bits.h",
                "struct a { uint32_t low : 3, high : 5, : 0; uint32_t other : 1; uint8_t last; };\n"
            )
        );

        Assert.Contains(
            """
                <member name="low" type="uint32_t" bits="3"/>
                <member name="high" type="uint32_t" bits="5"/>
                <skip type="uint32_t" bits="0"/>
                <member name="other" type="uint32_t" bits="1"/>
                <member name="last" type="uint8_t"/>
            """,
            spec,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void A_layout_that_a_target_makes_by_a_rule_of_its_own_is_refused()
    {
        // On Arm, bits without a name align their struct; on x86 they do not.
        string message = _headers.Refusal("io/a.h", "struct a {\n    uint8_t first : 3;\n    uint32_t : 29;\n};\n");

        Assert.StartsWith(
            "io/a.h:1: a cannot be proved for aarch64-linux-gnu: size 4 aligned to 4, and 4 aligned to 1",
            message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void A_name_that_every_type_of_CSharp_has_gets_another()
    {
        string spec = Headers.Import(_headers.Write("io/a.h", "struct b { uint8_t ToString; uint16_t b; };\n"));

        Assert.Contains(
            """<member name="ToString" type="uint8_t" csharp="ToString_2"/>""",
            spec,
            StringComparison.Ordinal
        );
        Assert.Contains("""<member name="b" type="uint16_t" csharp="B_2"/>""", spec, StringComparison.Ordinal);
    }

    [Fact]
    public void Names_that_are_one_in_CSharp_or_none_get_others_as_many_as_there_are()
    {
        string spec = Headers.Import(
            _headers.Write(
                "io/a.h",
                """
                #define FOO_BAR 1
                #define FooBar 2
                #define _ 3
                enum e { Foo_Bar = 4, b_x };
                struct b_x { uint8_t foo_bar; uint8_t fooBar; uint8_t foo__bar; uint8_t __; uint8_t _1; };
                """
            )
        );

        Assert.Contains("""<constant name="FooBar" value="2" csharp="FooBar_2"/>""", spec, StringComparison.Ordinal);
        Assert.Contains("""<constant name="_" value="3" csharp="_"/>""", spec, StringComparison.Ordinal);
        Assert.Contains(
            """<constant name="Foo_Bar" value="4" enum="e" csharp="FooBar_3"/>""",
            spec,
            StringComparison.Ordinal
        );
        // C has names for constants and for structs.
        Assert.Contains("""<constant name="b_x" value="5" enum="e" csharp="BX_2"/>""", spec, StringComparison.Ordinal);
        Assert.Contains("""<struct name="b_x">""", spec, StringComparison.Ordinal);
        Assert.Contains(
            """<member name="foo__bar" type="uint8_t" csharp="FooBar_3"/>""",
            spec,
            StringComparison.Ordinal
        );
        Assert.Contains("""<member name="__" type="uint8_t" csharp="_"/>""", spec, StringComparison.Ordinal);
        Assert.Contains("""<member name="_1" type="uint8_t" csharp="_1"/>""", spec, StringComparison.Ordinal);
    }

    [Fact]
    public void An_array_that_is_too_long_is_named() =>
        Assert.StartsWith(
            "io/a.h:2: a.pages: An array of 70000 elements is refused; give a count from 1 to 65536",
            _headers.Refusal("io/a.h", "struct a {\n    uint8_t pages[70000];\n};\n"),
            StringComparison.Ordinal
        );

    [Fact]
    public void An_alignment_that_only_some_machines_give_is_refused() =>
        Assert.StartsWith(
            "io/a.h:1: a is aligned to 1 for x86_64-linux-gnu and to 4 for another target",
            _headers.Refusal("io/a.h", "struct a { uint8_t first; uint32_t : 5; uint8_t last; };\n"),
            StringComparison.Ordinal
        );

    [Fact]
    public void A_struct_without_bytes_is_left_out_and_said()
    {
        string spec = Headers.Import(
            _headers.Write(
                "io/nothing.h",
                "struct none {};\nstruct a { uint8_t n; struct none nothing; uint32_t last; };\n"
            )
        );

        Assert.Contains("\n  Left out: none, it has no bytes.\n", spec, StringComparison.Ordinal);
        Assert.Contains(
            """
              <struct name="a">
                <member name="n" type="uint8_t"/>
                <member name="last" type="uint32_t"/>
              </struct>
            """,
            spec,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void A_header_that_others_include_by_another_path_is_itself()
    {
        _headers.Write("xen/include/public/arch-x86/xen.h", "#include \"../xen.h\"\n");
        string spec = Headers.Import(
            _headers.Write(
                "xen/include/public/xen.h",
                "#ifndef XEN_H\n#define XEN_H\n#include \"arch-x86/xen.h\"\nstruct a { uint8_t n; };\n#endif\n"
            )
        );

        Assert.Contains("""<struct name="a">""", spec, StringComparison.Ordinal);
    }

    [Fact]
    public void A_struct_that_points_to_itself_has_a_number_of_each_width()
    {
        string spec = Headers.Import(
            _headers.Write("io/a.h", "struct a { struct a *next; /* the next one */ uint8_t n; };\n")
        );

        Assert.Contains(
            """<member name="next_32" path="next" type="uint32_t" abi="x86_32 arm">"""
                + "A pointer: a number to all but its writer. the next one</member>",
            spec,
            StringComparison.Ordinal
        );
        Assert.Contains(
            """<member name="next_64" path="next" type="uint64_t" abi="native x86_64">""",
            spec,
            StringComparison.Ordinal
        );
    }

    [Theory]
    [InlineData(
        "struct blkif_request_indirect {",
        "struct blkif_request_remote {",
        "<variant ring=\"blkif\" struct=\"blkif_request_indirect\""
    )]
    [InlineData(
        "uint8_t        nr_segments;",
        "uint8_t        nr_segment;",
        "<used struct=\"blkif_request\" array=\"seg\" by=\"nr_segments\">"
    )]
    [InlineData("VDISK_CDROM ", "VDISK_DISC ", "<doc of=\"VDISK_CDROM\">")]
    public void A_hint_that_matches_nothing_is_named_with_its_header(string old, string edited, string hint)
    {
        string header = Path.Combine(_headers.SourceTree(), "io", "blkif.h");
        string text = File.ReadAllText(header);
        Assert.Contains(old, text, StringComparison.Ordinal);
        File.WriteAllText(header, text.Replace(old, edited, StringComparison.Ordinal));

        string message = Assert.Throws<HeaderImportException>(() => Headers.Import(header)).Message;

        Assert.StartsWith($"{header}: the hint {hint}", message, StringComparison.Ordinal);
        Assert.Contains("of Hints/blkif.xml matches nothing here", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Structs_that_contain_each_other_are_refused() =>
        Assert.StartsWith(
            "io/a.h:1: field has incomplete type",
            _headers.Refusal("io/a.h", "struct a { struct b { struct a inner; } b; };\n"),
            StringComparison.Ordinal
        );

    [Fact]
    public void What_a_macro_makes_for_one_side_alone_is_left_out_and_said()
    {
        string spec = Headers.Import(
            _headers.Write(
                "io/a.h",
                "#define PRIVATE(name) struct name##_state { int n; void *own; }\nstruct a { uint8_t n; "
                    + "};\nPRIVATE(a);\n"
            )
        );

        Assert.Contains(
            "\n  Left out: a_state, private to one side: own is a pointer.\n",
            spec,
            StringComparison.Ordinal
        );
        Assert.DoesNotContain("<struct name=\"a_state\"", spec, StringComparison.Ordinal);
    }

    [Fact]
    public void A_header_with_nothing_but_macros_with_parameters_is_refused_with_advice() =>
        Assert.EndsWith(
            "io/ring.h: the header defines no struct, union, enum or constant, only macros with "
                + "parameters: import a header that uses them",
            _headers.Refusal(
                "io/ring.h",
                "#ifndef RING_H\n#define RING_H\n#define __RD2(_x) (((_x) & 2) ? 2 : ((_x) & 1))\n#endif\n"
            ),
            StringComparison.Ordinal
        );

    [Fact]
    public void A_flexible_array_is_a_tail()
    {
        string spec = Headers.Import(_headers.Write("io/a.h", "struct a { uint16_t n; uint32_t refs[]; };\n"));

        Assert.Contains("""<tail name="refs" type="uint32_t"/>""", spec, StringComparison.Ordinal);
    }

    [Fact]
    public void A_name_that_is_a_keyword_of_CSharp_is_a_name_like_others()
    {
        string spec = Headers.Import(
            _headers.Write("io/a.h", "struct event { uint8_t in; uint8_t out; uint8_t namespace; };\n")
        );

        Assert.Contains("""<member name="namespace" type="uint8_t"/>""", spec, StringComparison.Ordinal);
    }

    [Fact]
    public void A_header_of_the_years_before_Arm_and_SPDX_imports_for_x86()
    {
        // In the style of Xen 3.4: no licence tag, no includes of its own, typedefs for tags, and an error for any
        // other machine.
        _headers.Write(
            "xen/include/public/xen.h",
            """
            #if !defined(__i386__) && !defined(__x86_64__)
            #error "Unsupported architecture"
            #endif
            typedef uint16_t domid_t;
            """
        );
        _headers.Write(
            "xen/include/public/io/ring.h",
            """
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
            """
        );
        string spec = Headers.Import(
            _headers.Write(
                "xen/include/public/io/old.h",
                """
                #include "ring.h"
                struct old_request { domid_t domain; uint64_t id; } __attribute__((packed));
                typedef struct old_request old_request_t;
                typedef struct { uint64_t id; int16_t status; } old_response_t;
                DEFINE_RING_TYPES(old, old_request_t, old_response_t);
                """
            )
        );

        Assert.Contains("""<struct name="old_request" pack="1">""", spec, StringComparison.Ordinal);
        Assert.Contains("""<struct name="old_response_t" path="old_response_t">""", spec, StringComparison.Ordinal);
        Assert.Contains("""<member name="pad" type="uint8_t" count="48">""", spec, StringComparison.Ordinal);
        Assert.Contains(
            """<ring name="old" header="old_sring" request="old_request" response="old_response_t"/>""",
            spec,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void A_header_of_ten_megabytes_imports()
    {
        var text = new StringBuilder();
        for (int i = 0; text.Length < 10_000_000; i++)
            text.Append("/* Line ")
                .Append(i)
                .Append(" of a comment that goes on, and says nothing that a person would want to read. */\n");
        text.Append("struct a {\n\n    uint32_t x;\n};\n");

        string spec = Headers.Import(_headers.Write("io/a.h", text.ToString()));

        Assert.Contains("""<member name="x" type="uint32_t"/>""", spec, StringComparison.Ordinal);
    }
}
