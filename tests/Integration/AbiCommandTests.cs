using System.Text.Json;
using System.Xml.Linq;

namespace Blkring.Integration.Tests;

/// <summary><c>blkring abi</c> as a person or a script runs it.</summary>
public sealed class AbiCommandTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Show_prints_every_struct_in_every_ABI_without_being_told_where_the_specs_are()
    {
        string output = Succeed("abi", "show");

        Assert.Contains("struct blkif_request, x86_32: 108 bytes, aligned to 4\n", output, StringComparison.Ordinal);
        Assert.Contains("struct blkif_request, x86_64: 112 bytes, aligned to 8\n", output, StringComparison.Ordinal);
        Assert.Contains("struct grant_entry_v1, native: 8 bytes, aligned to 4\n", output, StringComparison.Ordinal);
        Assert.Matches("(?m)^ +22 +2 +\\(gap\\)", output);
        Assert.Matches("(?m)^ +56 +8 +pad +uint64_t ", output);
    }

    [Fact]
    public void Show_speaks_to_machines_compilers_and_eyes()
    {
        string[] one = ["abi", "show", "--spec", Spec("blkif.xml"), "--abi", "x86_32", "--struct", "blkif_response"];

        JsonElement row = Assert.Single(JsonDocument.Parse(Succeed([.. one, "--json"])).RootElement.EnumerateArray());
        Assert.Equal(12, row.GetProperty("size").GetInt32());
        Assert.Contains("struct blkif_response {\n    uint64_t_x86_32 id;\n", Succeed([.. one, "--c"]), StringComparison.Ordinal);
        Assert.Contains("public struct Response\n", Succeed([.. one, "--csharp"]), StringComparison.Ordinal);
        Assert.Equal("svg", XDocument.Parse(Succeed([.. one, "--svg"])).Root!.Name.LocalName);
    }

    [Fact]
    public void Diff_of_the_same_is_0_and_says_so()
    {
        Assert.Equal("identical\n", Succeed("abi", "diff", Spec("blkif.xml"), Spec("blkif.xml")));
        Assert.Equal("identical\n", Succeed("abi", "diff", Spec(""), Spec("")));
    }

    [Fact]
    public void Diff_of_a_moved_member_is_1_and_says_from_where_to_where_in_each_ABI()
    {
        string edited = Edit("<member name=\"flag\" type=\"uint8_t\">", "<member name=\"nonce\" type=\"uint64_t\"/>\n<member name=\"flag\" type=\"uint8_t\">");

        using BlkringProcess blkring = BlkringProcess.Run(_folder.Path, "abi", "diff", Spec("blkif.xml"), edited);

        Assert.Equal(1, blkring.ExitCode);
        Assert.Contains("incompatible  blkif: struct blkif_request_discard (x86_32): size 28 -> 40\n", blkring.Output, StringComparison.Ordinal);
        Assert.Contains("incompatible  blkif: blkif_request_discard.id (native, x86_64): offset 8 -> 24, 8 bytes\n", blkring.Output, StringComparison.Ordinal);
        Assert.Contains("incompatible  blkif: blkif_request_discard.id (x86_32): offset 4 -> 16, 8 bytes\n", blkring.Output, StringComparison.Ordinal);
        Assert.EndsWith("different, and not wire-compatible: old and new would misread each other\n", blkring.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Diff_of_an_added_constant_is_1_and_wire_compatible()
    {
        string edited = Edit("<constant name=\"BLKIF_OP_READ\"", "<constant name=\"BLKIF_OP_ZERO\" value=\"7\"/>\n<constant name=\"BLKIF_OP_READ\"");

        using BlkringProcess blkring = BlkringProcess.Run(_folder.Path, "abi", "diff", Spec("blkif.xml"), edited, "--json");

        Assert.Equal(1, blkring.ExitCode);
        JsonElement report = JsonDocument.Parse(blkring.Output).RootElement;
        Assert.Equal("compatible", report.GetProperty("verdict").GetString());
        Assert.Equal("BLKIF_OP_ZERO", Assert.Single(report.GetProperty("differences").EnumerateArray()).GetProperty("subject").GetString());
    }

    [Theory]
    [InlineData("abi", "see 'blkring abi --help'")]
    [InlineData("abi shown", "see 'blkring abi --help'")]
    [InlineData("abi show --nothing", "'--nothing' is not known; see 'blkring abi show --help'")]
    [InlineData("abi show --abi arm7", "there is no ABI 'arm7': give one of native, x86_32, x86_64")]
    [InlineData("abi show --struct nothing", "there is no struct 'nothing': give one of ")]
    [InlineData("abi show --json --svg", "--json and --svg exclude each other")]
    [InlineData("abi show --spec missing.xml", "missing.xml cannot be read")]
    [InlineData("abi diff missing.xml", "see 'blkring abi diff --help'")]
    [InlineData("abi diff missing.xml missing.xml", "missing.xml cannot be read")]
    public void What_makes_no_sense_is_refused_in_one_line(string arguments, string expected) => AssertRefused(expected, arguments.Split(' '));

    [Fact]
    public void A_wrong_spec_is_refused_with_its_line_and_advice()
    {
        string broken = Edit("type=\"blkif_vdev_t\"", "type=\"blkif_vdev\"");

        AssertRefused("blkif.xml(", "abi", "show", "--spec", broken);
        AssertRefused("error BLKABI010: 'blkif_vdev' is no known type", "abi", "show", "--spec", broken);
        AssertRefused("holds no spec", "abi", "diff", Directory.CreateDirectory(_folder.File("empty")).FullName, broken);
    }

    private static string Spec(string name) => Path.Combine(Repository.Root, "abi", name);

    /// <summary>A copy of blkif.xml, edited.</summary>
    private string Edit(string old, string edited)
    {
        string text = File.ReadAllText(Spec("blkif.xml"));
        Assert.Contains(old, text, StringComparison.Ordinal);
        File.WriteAllText(_folder.File("blkif.xml"), text.Replace(old, edited, StringComparison.Ordinal));
        return _folder.File("blkif.xml");
    }

    private string Succeed(params string[] arguments)
    {
        using BlkringProcess blkring = BlkringProcess.Run(_folder.Path, arguments);
        Assert.Equal((0, ""), (blkring.ExitCode, blkring.Errors));
        return blkring.Output;
    }

    private void AssertRefused(string expected, params string[] arguments)
    {
        using BlkringProcess blkring = BlkringProcess.Run(_folder.Path, arguments);

        Assert.Equal((2, ""), (blkring.ExitCode, blkring.Output));
        Assert.Contains(expected, Assert.Single(blkring.ErrorLines), StringComparison.Ordinal);
        Assert.StartsWith("blkring: ", blkring.Errors, StringComparison.Ordinal);
    }
}
