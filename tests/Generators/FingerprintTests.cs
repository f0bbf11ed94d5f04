using System.Globalization;
using Microsoft.CodeAnalysis;

namespace Blkring.Generators.Tests;

/// <summary>The fingerprint changes with what a reader of the bytes must know, and with nothing else.</summary>
public sealed class FingerprintTests
{
    private const string Spec = """
        <protocol name="demo" header="">
          <abi name="native" align-64="8"/>
          <constant name="DEMO_ONE" value="1"/>
          <constant name="DEMO_NAME" string="one"/>
          <typedef name="demo_id" type="uint64_t"/>
          <struct name="demo_inner"><member name="a" type="uint16_t"/><member name="b" type="uint32_t"/></struct>
          <struct name="demo_outer">
            <member name="inner" type="demo_inner" count="2"/>
            <member name="low" type="int32_t" bits="3"/>
            <member name="high" type="uint32_t" bits="5"/>
            <member name="rest" type="demo_id"/>
            <tail name="more" type="uint16_t"/>
          </struct>
        </protocol>
        """;

    /// <summary>
    /// FNV-1a, calculated apart from this code, of the text that docs/abi.md describes: "protocol demo", "constant
    /// DEMO_ONE 1" and so on, a line each.
    /// </summary>
    [Fact]
    public void It_is_FNV_1a_over_the_text_that_is_documented() => Assert.Equal("8c1858d3cae6a94d", Fingerprint(Spec));

    [Theory]
    [InlineData("name=\"a\"", "name=\"c\"")]
    [InlineData("\"DEMO_ONE\" value=\"1\"", "\"DEMO_ONE\" value=\"2\"")]
    [InlineData("\"DEMO_ONE\"", "\"DEMO_TWO\"")]
    [InlineData("string=\"one\"", "string=\"two\"")]
    [InlineData("type=\"uint16_t\"/><member", "type=\"int16_t\"/><member")]
    [InlineData("type=\"uint16_t\"/><member", "type=\"uint8_t\"/><member")]
    [InlineData("name=\"b\" type=\"uint32_t\"", "name=\"b\" type=\"uint32_t\" offset=\"8\"")]
    [InlineData("count=\"2\"", "count=\"1\"")]
    [InlineData("bits=\"3\"", "bits=\"4\"")]
    [InlineData("name=\"more\" type=\"uint16_t\"", "name=\"more\" type=\"uint32_t\"")]
    [InlineData("\"demo_inner\">", "\"demo_inner\" align=\"16\">")]
    public void What_moves_a_byte_or_its_meaning_changes_it(string old, string edited) =>
        Assert.NotEqual(Fingerprint(Spec), Fingerprint(Edit(old, edited)));

    [Theory]
    [InlineData("header=\"\"", "header=\"demo.h\"")]
    [InlineData("name=\"a\"", "name=\"a\" csharp=\"first\"")]
    [InlineData("type=\"demo_id\"", "type=\"uint64_t\"")]
    [InlineData("<struct name=\"demo_outer\">", "<struct name=\"demo_outer\">Words.")]
    [InlineData("  <constant name=\"DEMO_NAME\"", "\n\n<constant name=\"DEMO_NAME\"")]
    public void Words_and_typedefs_leave_it_as_it_is(string old, string edited) =>
        Assert.Equal(Fingerprint(Spec), Fingerprint(Edit(old, edited)));

    private static string Edit(string old, string edited)
    {
        Assert.Contains(old, Spec, StringComparison.Ordinal);
        return Spec.Replace(old, edited, StringComparison.Ordinal);
    }

    private static string Fingerprint(string spec)
    {
        INamedTypeSymbol demo = GeneratorKit
            .Compile([new SpecFile("demo.xml", spec)])
            .GetTypeByMetadataName("Blkring.Abi.Demo")!;
        object? value = ((IFieldSymbol)demo.GetMembers("LayoutFingerprint").Single()).ConstantValue;
        return ((ulong)value!).ToString("x16", CultureInfo.InvariantCulture);
    }
}
