using Blkring.AbiTools;
using Blkring.AbiTools.Layouts;
using Blkring.Generators.Model;
using Blkring.Layouts.Tests;

namespace Blkring.AbiImport.Tests;

/// <summary>Xen's installed headers, imported.</summary>
public sealed class ImportTests
{
    [Theory]
    [InlineData("blkif", "io/blkif.h")]
    [InlineData("grant_table", "grant_table.h")]
    [InlineData("xenbus", "io/xenbus.h")]
    public void Importing_a_header_reproduces_the_checked_in_spec(string spec, string header)
    {
        Assert.Equal(
            File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "checked-in", spec + ".xml")),
            Headers.Import(Path.Combine(Headers.Installed, header))
        );
    }

    [Fact]
    public void A_header_in_a_source_tree_is_the_same_protocol()
    {
        using var headers = new Headers();

        string fromTree = Headers.Import(Path.Combine(headers.SourceTree(), "io", "blkif.h"));

        Assert.Equal(Headers.Import(Headers.Io("blkif.h")), fromTree);
    }

    public static TheoryData<string> Protocols() => [.. Specs.All.Select(s => s.Name)];

    [Theory]
    [MemberData(nameof(Protocols))]
    public void The_specs_under_test_are_what_the_import_writes(string protocol)
    {
        ProtocolSpec spec = Specs.Find(protocol);
        string name = Path.GetFileNameWithoutExtension(spec.Header);

        Assert.Equal(
            File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "abi", name + ".xml")),
            Headers.Import(Path.Combine("/usr/include", spec.Header))
        );
    }

    [Fact]
    public void Every_installed_ring_protocol_is_under_test()
    {
        // Those that define no type: macros for others.
        string[] without = ["protocols.h", "ring.h"];
        IEnumerable<string> installed = Directory
            .GetFiles(Path.Combine(Headers.Installed, "io"), "*.h")
            .Select(Path.GetFileName)
            .OfType<string>();

        // Those of abi/ are reproduced above.
        IEnumerable<string> imported = Specs
            .All.Select(s => Path.GetFileName(s.Header))
            .Concat(["blkif.h", "xenbus.h"]);

        Assert.Equal(installed.Except(without).Order(), imported.Order());
    }

    [Fact]
    public void A_member_that_only_i386_has_is_of_that_abi()
    {
        using var headers = new Headers();
        string spec = Headers.Import(
            headers.Write(
                "io/a.h",
                """
                struct a {
                    uint32_t first;
                #ifdef __i386__
                    uint32_t pad;   /* only here */
                #endif
                    uint64_t last;
                };
                """
            )
        );

        Assert.Contains(
            """<member name="pad" type="uint32_t" abi="x86_32">only here</member>""",
            spec,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void A_struct_that_only_i386_has_is_of_that_abi_and_so_are_members_of_it()
    {
        using var headers = new Headers();
        string spec = Headers.Import(
            headers.Write(
                "io/a.h",
                """
                #if defined(__i386__)
                struct word { uint16_t cs; uint32_t eip; };
                typedef struct word word_t;
                #define WORDS 2
                #else
                typedef unsigned long word_t;
                #define WORDS 3
                #endif
                struct a { uint32_t first; word_t word; uint8_t words[WORDS]; };
                """
            )
        );

        Assert.Contains(
            """
              <struct name="word" abi="x86_32">
                <member name="cs" type="uint16_t"/>
                <member name="eip" type="uint32_t"/>
              </struct>
            """,
            spec,
            StringComparison.Ordinal
        );
        Assert.Contains(
            """
              <abi name="x86_32"
            """,
            spec,
            StringComparison.Ordinal
        );
        Assert.Contains(
            """<member name="word_native" path="word" type="uint64_t" abi="native x86_64"/>""",
            spec,
            StringComparison.Ordinal
        );
        Assert.Contains(
            """<member name="word_x86_32" path="word" type="word" abi="x86_32"/>""",
            spec,
            StringComparison.Ordinal
        );
        Assert.Contains(
            """<member name="words_x86_32" path="words" type="uint8_t" count="2" abi="x86_32"/>""",
            spec,
            StringComparison.Ordinal
        );
        Assert.Contains("Left out, for their values differ by target: WORDS.", spec, StringComparison.Ordinal);
    }

    [Fact]
    public void Where_64_bit_Arm_differs_from_x86_both_have_ABIs_of_their_own()
    {
        using var headers = new Headers();
        string spec = Headers.Import(
            headers.Write(
                "io/a.h",
                """
                struct a {
                #ifdef __aarch64__
                    uint32_t pad;
                #endif
                    uint64_t last;
                };
                """
            )
        );

        Assert.DoesNotContain("""<abi name="native" """, spec, StringComparison.Ordinal);
        Assert.Contains("""<abi name="arm64" align-64="8">""", spec, StringComparison.Ordinal);
        Assert.Contains("""<member name="pad" type="uint32_t" abi="arm64"/>""", spec, StringComparison.Ordinal);
    }

    [Fact]
    public void An_integer_that_Arm_calls_by_another_name_is_the_same()
    {
        using var headers = new Headers();
        string spec = Headers.Import(
            headers.Write(
                "io/a.h",
                """
                #if defined(__arm__) || defined(__aarch64__)
                typedef uint64_t word_t;
                #else
                typedef unsigned long word_t;
                #endif
                struct a { word_t n; };
                """
            )
        );

        Assert.Contains(
            """<member name="n_64" path="n" type="uint64_t" abi="native x86_64"/>""",
            spec,
            StringComparison.Ordinal
        );
        Assert.Contains(
            """<member name="n_32" path="n" type="uint32_t" abi="x86_32"/>""",
            spec,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void Strings_are_whole_or_none_and_what_the_place_of_use_decides_is_no_constant()
    {
        using var headers = new Headers();
        string header = headers.Write(
            "io/a.h",
            """
            #define A_LINES "one\ntwo\t\"2\""
            #define A_CUT "one\0two"
            #define A_WIDE L"wide"
            #define A_BELL "\x07"
            #define A_BYTE "\xff"
            #define A_FILE __FILE__
            #define A_WHERE A_FILE
            #define A_LINE (__LINE__ + 1)
            struct a { uint8_t n; };
            """
        );

        string spec = Headers.Import(header);

        Assert.Equal("one\ntwo\t\"2\"", Assert.Single(AbiSource.Parse("a.xml", spec).Spec.Constants).Text);
        Assert.Equal(spec, Headers.Import(header));
    }

    [Fact]
    public void A_long_is_a_member_for_each_width()
    {
        using var headers = new Headers();
        string spec = Headers.Import(headers.Write("io/a.h", "struct a { unsigned long word; };"));

        Assert.Contains(
            """<member name="word_64" path="word" type="uint64_t" abi="native x86_64"/>""",
            spec,
            StringComparison.Ordinal
        );
        Assert.Contains(
            """<member name="word_32" path="word" type="uint32_t" abi="x86_32 arm"/>""",
            spec,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void Constants_keep_the_notation_of_the_header_and_enumerators_their_enum()
    {
        using var headers = new Headers();
        string spec = Headers.Import(
            headers.Write(
                "io/a.h",
                """
                #define A_BIT (1 << 4) /* a bit */
                #define A_MASK 0xff
                #define A_NEGATIVE -3
                #define A_NAME "name"
                #define A_FUNCTION(x) (x)
                #define A_NOTHING
                #define A_TYPE uint16_t
                #define A_UNKNOWN (NOT_DEFINED + 1)
                #define A_HERE sizeof(long)
                enum a_state { A_OFF, A_ON = 5 };
                struct a { A_TYPE x; };
                """
            )
        );

        Assert.Contains("""<constant name="A_BIT" value="0x10">a bit</constant>""", spec, StringComparison.Ordinal);
        Assert.Contains("""<constant name="A_MASK" value="0xff"/>""", spec, StringComparison.Ordinal);
        Assert.Contains("""<constant name="A_NEGATIVE" value="-3"/>""", spec, StringComparison.Ordinal);
        Assert.Contains("""<constant name="A_NAME" string="name"/>""", spec, StringComparison.Ordinal);
        Assert.Contains("""<constant name="A_ON" value="5" enum="a_state"/>""", spec, StringComparison.Ordinal);
        Assert.Contains("""<typedef name="A_TYPE" type="uint16_t"/>""", spec, StringComparison.Ordinal);
        Assert.Contains("Left out, for their values differ by target: A_HERE.", spec, StringComparison.Ordinal);
        Assert.DoesNotContain("A_FUNCTION", spec, StringComparison.Ordinal);
        Assert.DoesNotContain("A_UNKNOWN", spec, StringComparison.Ordinal);
    }
}
