using System.Reflection;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace Blkring.Generators.Tests;

public sealed class EmissionTests
{
    private static SpecFile Netif =>
        new("netif.xml", File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "netif.xml")));

    [Fact]
    public void The_projects_specs_compile_without_a_warning()
    {
        CSharpCompilation output = GeneratorKit.Compile([
            SpecFile.OfTheProject("blkif.xml"),
            SpecFile.OfTheProject("grant_table.xml"),
        ]);

        Assert.NotNull(output.GetTypeByMetadataName("Blkring.Abi.Blkif+X86_32+Request"));
        Assert.NotNull(output.GetTypeByMetadataName("Blkring.Abi.Blkif+Sring"));
        Assert.NotNull(output.GetTypeByMetadataName("Blkring.Abi.Blkif+BackRing`1"));
        Assert.NotNull(output.GetTypeByMetadataName("Blkring.Abi.GrantTable+GrantEntryV1"));
        Assert.Null(output.GetTypeByMetadataName("Blkring.Abi.GrantTable+Native"));
    }

    [Fact]
    public void A_protocol_is_cut_into_files_by_subject()
    {
        IEnumerable<string> names = GeneratorKit
            .Run(SpecFile.OfTheProject("blkif.xml"))
            .GeneratedSources.Select(s => s.HintName);

        Assert.Equal(
            [
                "Blkif.Abi.Native.g.cs",
                "Blkif.Abi.X86_32.g.cs",
                "Blkif.Abi.X86_64.g.cs",
                "Blkif.Constants.g.cs",
                "Blkif.Fingerprint.g.cs",
                "Blkif.Ring.Back.g.cs",
                "Blkif.Ring.Front.g.cs",
                "Blkif.Ring.Messages.g.cs",
                "Blkif.Ring.Native.g.cs",
                "Blkif.Ring.X86_32.g.cs",
                "Blkif.Ring.X86_64.g.cs",
                "Blkif.Structs.g.cs",
            ],
            names.Order(StringComparer.Ordinal)
        );
    }

    [Fact]
    public void A_file_that_is_not_marked_as_a_spec_is_left_alone() =>
        Assert.Empty(GeneratorKit.Run(new SpecFile("notes.txt", "<protocol")).GeneratedSources);

    [Fact]
    public void Constants_have_the_type_that_fits()
    {
        CSharpCompilation output = GeneratorKit.Compile([
            new SpecFile(
                "demo.xml",
                DemoSpec.Of(
                    """
                    <constant name="DEMO_MIN" value="-2147483648"/>
                    <constant name="DEMO_HIGH" value="0x80000000"/>
                    <constant name="DEMO_WIDE" value="-2147483649"/>
                    <constant name="DEMO_LOWEST" value="-9223372036854775808"/>
                    <constant name="DEMO_HUGE" value="0xffffffffffffffff"/>
                    <constant name="OTHER_TEXT" string="say &quot;\&quot;&#10;"/>
                    <constant name="PROTO_X86_32" value="1"/>
                    """
                )
            ),
        ]);
        INamedTypeSymbol demo = output.GetTypeByMetadataName("Blkring.Abi.Demo")!;

        object?[] Values(params string[] names) =>
            [.. names.Select(n => ((IFieldSymbol)demo.GetMembers(n).Single()).ConstantValue)];
        Assert.Equal(
            [int.MinValue, 0x80000000u, -2147483649L, long.MinValue, ulong.MaxValue, "say \"\\\"\n", 1],
            Values("Min", "High", "Wide", "Lowest", "Huge", "OtherText", "ProtoX86_32")
        );
    }

    [Fact]
    public void Keywords_of_CSharp_and_words_of_XML_are_safe_in_a_spec() =>
        GeneratorKit.Compile([
            new SpecFile(
                "demo.xml",
                DemoSpec.Of(
                    """
                    <constant name="DEMO_class" value="3">Less &lt; more &amp; */ done &#x2028; #error no
                    #error no</constant>
                    <struct name="namespace"><member name="ref" type="uint8_t"/>
                      <member name="in" type="uint8_t" count="2"/><member name="base" type="uint64_t"/></struct>
                    """
                )
            ),
        ]);

    [Fact]
    public void Each_field_says_its_C_name_offset_and_size()
    {
        string structs = Source("Blkif.Abi.X86_32.g.cs");

        Assert.Contains("/// <summary>struct blkif_request, xen/io/blkif.h.", structs, StringComparison.Ordinal);
        Assert.Contains("/// <summary>blkif_sector_t sector_number, 8 bytes at 12.", structs, StringComparison.Ordinal);
    }

    [Fact]
    public void A_wire_field_is_loaded_once()
    {
        string codec = Source("Blkif.Ring.Native.g.cs");
        string discard = codec[
            codec.IndexOf("case OpDiscard", StringComparison.Ordinal)..codec.IndexOf(
                "case OpIndirect",
                StringComparison.Ordinal
            )
        ];

        string[] loads = [.. discard.Split('\n').Where(l => l.Contains("entry", StringComparison.Ordinal))];
        Assert.Equal(5, loads.Length);
        Assert.Equal(
            loads.Length,
            loads.Select(l => l[l.IndexOf("entry", StringComparison.Ordinal)..]).Distinct().Count()
        );
        Assert.Single(codec.Split('\n'), l => l.Contains("= entry[0]", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("Native", "32 256")]
    [InlineData("X86_32", "64 256")]
    public void Another_ring_protocol_touches_the_spec_only(string tag, string entryCounts)
    {
        CSharpCompilation output = GeneratorKit.Compile(
            [Netif],
            File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "NetifUser.txt"))
        );
        using var image = new MemoryStream();
        Assert.True(output.Emit(image, cancellationToken: TestContext.Current.CancellationToken).Success);
        Assembly user = Assembly.Load(image.ToArray());

        Type abi = user.GetType("Blkring.Abi.Netif+" + tag)!;
        object? said = user.GetType("NetifUser")!.GetMethod("Run")!.MakeGenericMethod(abi).Invoke(null, null);

        Assert.Equal(
            $"{entryCounts} | 0 2 1500 abcdef0123456789 7/1/11,12,13 8/2/21,22,23 | 1 5 01-02-03-04-05-06 "
                + "| 9 -2 | 77 3 | 77 100 -1",
            said
        );
    }

    private static string Source(string hintName) =>
        GeneratorKit
            .Run(SpecFile.OfTheProject("blkif.xml"))
            .GeneratedSources.Single(s => s.HintName == hintName)
            .SourceText.ToString();
}
