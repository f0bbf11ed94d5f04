using System.Text.Json;
using System.Xml.Linq;

namespace Blkring.Integration.Tests;

/// <summary><c>blkring abi</c> as a person or a script runs it.</summary>
public sealed class AbiCommandTests : IDisposable
{
    private const string InstalledHeaders = "/usr/include/xen";

    /// <summary>The last line of a check of all specs.</summary>
    private const string NotCompared =
        "not compared: journal, journal_v1 (formats of Blkring's own, without a header)\n";

    private readonly TempDirectory _folder = new();

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
    public void Show_of_one_protocol_prints_that_one_alone()
    {
        string[] structs = StructsOf("abi", "show", "blkif", "--json");

        Assert.Contains("blkif_request", structs);
        Assert.All(structs, name => Assert.StartsWith("blkif_", name, StringComparison.Ordinal));
        Assert.Contains("grant_entry_v1", StructsOf("abi", "show", "grant_table", "--json"));
        Assert.Equal(["blkif_request"], StructsOf("abi", "show", "blkif", "--struct", "blkif_request", "--json"));
        Assert.DoesNotContain("grant_entry_v1", Succeed("abi", "show", "blkif", "--csharp"), StringComparison.Ordinal);
    }

    [Fact]
    public void Show_speaks_to_machines_compilers_and_eyes()
    {
        string[] one = ["abi", "show", "--spec", Spec("blkif.xml"), "--abi", "x86_32", "--struct", "blkif_response"];

        JsonElement row = Assert.Single(JsonDocument.Parse(Succeed([.. one, "--json"])).RootElement.EnumerateArray());
        Assert.Equal(12, row.GetProperty("size").GetInt32());
        Assert.Contains(
            "struct blkif_response {\n    uint64_t_x86_32 id;\n",
            Succeed([.. one, "--c"]),
            StringComparison.Ordinal
        );
        Assert.Contains("public struct Response\n", Succeed([.. one, "--csharp"]), StringComparison.Ordinal);
        Assert.Equal("svg", XDocument.Parse(Succeed([.. one, "--svg"])).Root!.Name.LocalName);
    }

    [Fact]
    public void Diff_of_two_files_is_of_one_protocol_whatever_their_names()
    {
        string header = Path.Combine(InstalledHeaders, "io", "console.h");
        File.Copy(header, _folder.PathOf("console-4.17.h"));

        Assert.Equal("identical\n", Succeed("abi", "diff", header, _folder.PathOf("console-4.17.h")));
    }

    [Fact]
    public void Diff_of_trees_has_the_grant_table_too()
    {
        foreach (string name in new[] { "one/io", "two/io" })
        {
            File.Copy(
                Path.Combine(InstalledHeaders, "io", "console.h"),
                Path.Combine(Directory.CreateDirectory(_folder.PathOf(name)).FullName, "console.h")
            );
            File.WriteAllText(
                Path.Combine(_folder.PathOf(name), "../grant_table.h"),
                $"#define GTF_readonly {name.Length}\n#define GTF_extra_{name[..3]} 1\n"
                    + "struct grant_entry_v1 { uint16_t flags; uint16_t domid; uint32_t frame; };\n"
            );
        }

        using BlkringProcess diff = BlkringProcess.Run(
            _folder.Path,
            "abi",
            "diff",
            _folder.PathOf("one"),
            _folder.PathOf("two")
        );

        Assert.Equal(
            [
                "incompatible  grant_table: GTF_extra_one: constant removed, was 1",
                "compatible    grant_table: GTF_extra_two: constant added, 1",
            ],
            diff.Output.Split('\n')[..2]
        );
        Assert.Equal((1, ""), (diff.ExitCode, diff.Errors));
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
        string edited = Edit(
            "<member name=\"flag\" type=\"uint8_t\">",
            "<member name=\"nonce\" type=\"uint64_t\"/>\n<member name=\"flag\" type=\"uint8_t\">"
        );

        using BlkringProcess blkring = BlkringProcess.Run(_folder.Path, "abi", "diff", Spec("blkif.xml"), edited);

        Assert.Equal(1, blkring.ExitCode);
        Assert.Contains(
            "incompatible  blkif: struct blkif_request_discard (x86_32): size 28 -> 40\n",
            blkring.Output,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "incompatible  blkif: blkif_request_discard.id (native, x86_64): offset 8 -> 24, 8 bytes\n",
            blkring.Output,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "incompatible  blkif: blkif_request_discard.id (x86_32): offset 4 -> 16, 8 bytes\n",
            blkring.Output,
            StringComparison.Ordinal
        );
        Assert.EndsWith(
            "different, and not wire-compatible: the two would misread each other\n",
            blkring.Output,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void Diff_of_an_added_constant_is_1_and_wire_compatible()
    {
        string edited = Edit(
            "<constant name=\"BLKIF_OP_READ\"",
            "<constant name=\"BLKIF_OP_ZERO\" value=\"7\"/>\n<constant name=\"BLKIF_OP_READ\""
        );

        using BlkringProcess blkring = BlkringProcess.Run(
            _folder.Path,
            "abi",
            "diff",
            Spec("blkif.xml"),
            edited,
            "--json"
        );

        Assert.Equal(1, blkring.ExitCode);
        JsonElement report = JsonDocument.Parse(blkring.Output).RootElement;
        Assert.Equal("compatible", report.GetProperty("verdict").GetString());
        Assert.Equal(
            "BLKIF_OP_ZERO",
            Assert.Single(report.GetProperty("differences").EnumerateArray()).GetProperty("subject").GetString()
        );
    }

    [Theory]
    [InlineData("abi", "see 'blkring abi --help'")]
    [InlineData("abi shown", "see 'blkring abi --help'")]
    [InlineData("abi show --nothing", "'--nothing' is not known; see 'blkring abi show --help'")]
    [InlineData("abi show netif", "there is no protocol 'netif': give one of blkif, grant_table, journal, ")]
    [InlineData("abi show blkif grant_table", "'grant_table' is not known; see 'blkring abi show --help'")]
    [InlineData("abi show blkif --struct grant_entry_v1", "there is no struct 'grant_entry_v1': give one of blkif_")]
    [InlineData("abi check --spec ROOT/abi/journal.xml", "abi/journal.xml describes a format of Blkring's own: ")]
    [InlineData("abi show --abi arm7", "there is no ABI 'arm7': give one of native, x86_32, x86_64")]
    [InlineData("abi show --struct nothing", "there is no struct 'nothing': give one of ")]
    [InlineData("abi show --json --svg", "--json and --svg exclude each other")]
    [InlineData("abi show --spec missing.xml", "missing.xml cannot be read")]
    [InlineData("abi diff missing.xml", "see 'blkring abi diff --help'")]
    [InlineData("abi diff missing.xml missing.xml", "missing.xml cannot be read")]
    [InlineData("abi check --headers missing", "missing is not a folder: give a tree of headers")]
    [InlineData("abi check --spec missing.xml", "missing.xml cannot be read")]
    [InlineData("abi import -o out.xml", "see 'blkring abi import --help'")]
    [InlineData("abi import missing.h", "see 'blkring abi import --help'")]
    [InlineData("abi import missing.h -o out.xml", "missing.h: there is no such file")]
    [InlineData("abi import /usr/include/xen/io/blkif.h --name 9p -o out.xml", "'9p' cannot be the name of a protocol")]
    [InlineData("abi import /usr/include/xen/io/blkif.h -o missing/out.xml", "missing/out.xml cannot be written")]
    public void What_makes_no_sense_is_refused_in_one_line(string arguments, string expected) =>
        AssertRefused(expected, arguments.Replace("ROOT", Repository.Root, StringComparison.Ordinal).Split(' '));

    [Fact]
    public void A_wrong_spec_is_refused_with_its_line_and_advice()
    {
        string broken = Edit("type=\"blkif_vdev_t\"", "type=\"blkif_vdev\"");

        AssertRefused("blkif.xml(", "abi", "show", "--spec", broken);
        AssertRefused("error BLKABI010: 'blkif_vdev' is not a known type", "abi", "show", "--spec", broken);
        AssertRefused(
            "holds no spec",
            "abi",
            "diff",
            Directory.CreateDirectory(_folder.PathOf("empty")).FullName,
            broken
        );
    }

    [Fact]
    public void Import_writes_the_spec_that_is_checked_in()
    {
        Assert.Equal(
            "",
            Succeed(
                "abi",
                "import",
                Path.Combine(InstalledHeaders, "io", "blkif.h"),
                "-o",
                _folder.PathOf("imported.xml")
            )
        );

        Assert.Equal(File.ReadAllText(Spec("blkif.xml")), File.ReadAllText(_folder.PathOf("imported.xml")));
    }

    [Fact]
    public void Check_of_the_installed_headers_is_0_and_says_so()
    {
        Assert.Equal(
            "blkif, grant_table, xenbus: the same as /usr/include/xen\n" + NotCompared,
            Succeed("abi", "check")
        );
        Assert.Equal(
            "identical",
            JsonDocument
                .Parse(Succeed("abi", "check", "--json", "--headers", InstalledHeaders, "--spec", Spec("blkif.xml")))
                .RootElement.GetProperty("verdict")
                .GetString()
        );
    }

    /// <summary>blkif.h edited by hand, each time in one way that has happened to headers.</summary>
    [Theory]
    [InlineData(
        "uint8_t        flag;",
        "uint32_t nonce; uint8_t flag;",
        "incompatible  blkif: struct blkif_request_discard (x86_32): size 28 -> 36",
        "incompatible  blkif: struct blkif_request_discard (native, x86_64): size 32 -> 40",
        "incompatible  blkif: blkif_request_discard.id (native, x86_64): offset 8 -> 16, 8 bytes",
        "incompatible  blkif: blkif_request_discard.id (x86_32): offset 4 -> 12, 8 bytes",
        "incompatible  blkif: blkif_request_discard.nonce (native, x86_32, x86_64): added, uint32_t, 4 bytes at 4"
    )]
    [InlineData(
        "#define BLKIF_OP_DISCARD           5",
        "#define BLKIF_OP_DISCARD           7",
        "incompatible  blkif: BLKIF_OP_DISCARD: constant changed, 5 -> 7"
    )]
    [InlineData(
        "uint64_t       pad;          /* Make it 64 byte aligned on i386      */",
        "",
        "incompatible  blkif: struct blkif_request_indirect (x86_32): size 64 -> 56",
        "incompatible  blkif: blkif_request_indirect.pad (x86_32): removed, was uint64_t, 8 bytes at 56"
    )]
    [InlineData(
        "#define BLKIF_OP_DISCARD           5",
        "#define BLKIF_OP_DISCARD           5\n#define BLKIF_OP_ZEROES 7",
        "compatible    blkif: BLKIF_OP_ZEROES: constant added, 7"
    )]
    public void Check_of_a_header_edited_by_hand_is_1_and_says_what_was_edited(
        string old,
        string edited,
        params string[] expected
    )
    {
        string tree = CopyHeaders(old, edited);

        using BlkringProcess check = BlkringProcess.Run(_folder.Path, "abi", "check", "--headers", tree);
        using BlkringProcess diff = BlkringProcess.Run(
            _folder.Path,
            "abi",
            "diff",
            Path.Combine(InstalledHeaders, "io", "blkif.h"),
            Path.Combine(tree, "io", "blkif.h")
        );

        Assert.Equal((1, ""), (check.ExitCode, check.Errors));
        Assert.EndsWith(NotCompared, check.Output, StringComparison.Ordinal);
        string comparison = check.Output[..^NotCompared.Length];
        Assert.Superset(expected.ToHashSet(), comparison.Split('\n').ToHashSet());
        // Nothing but the effects of the edit is reported; the verdict follows.
        Assert.All(
            comparison.Split('\n')[..^2],
            line => Assert.StartsWith(expected[0].Split(' ')[0], line, StringComparison.Ordinal)
        );
        Assert.Equal((1, comparison), (diff.ExitCode, diff.Output));
    }

    [Fact]
    public void Diff_of_two_trees_of_headers_compares_every_ring_protocol()
    {
        string tree = CopyHeaders("#define BLKIF_OP_DISCARD           5", "#define BLKIF_OP_DISCARD           7");
        File.Delete(Path.Combine(tree, "io", "tpmif.h"));

        using BlkringProcess diff = BlkringProcess.Run(_folder.Path, "abi", "diff", InstalledHeaders, tree);

        Assert.Equal(
            [
                "incompatible  blkif: BLKIF_OP_DISCARD: constant changed, 5 -> 7",
                "incompatible  tpmif: tpmif: protocol removed",
            ],
            diff.Output.Split('\n')[..2]
        );
        Assert.Equal((1, ""), (diff.ExitCode, diff.Errors));
    }

    [Fact]
    public void Diff_of_two_trees_tells_a_header_that_is_refused_in_its_place_and_compares_the_others()
    {
        string tree = CopyHeaders("uint8_t        flag;", "uint8_t flag");
        File.Delete(Path.Combine(tree, "io", "tpmif.h"));

        using BlkringProcess diff = BlkringProcess.Run(_folder.Path, "abi", "diff", InstalledHeaders, tree);
        using BlkringProcess json = BlkringProcess.Run(_folder.Path, "abi", "diff", InstalledHeaders, tree, "--json");

        string[] lines = diff.Output.Split('\n');
        Assert.Equal("incompatible  tpmif: tpmif: protocol removed", lines[0]);
        Assert.StartsWith($"refused       blkif: {tree}/io/blkif.h:", lines[1], StringComparison.Ordinal);
        Assert.Equal((2, 2, ""), (diff.ExitCode, json.ExitCode, diff.Errors));
        Assert.Equal(
            "blkif",
            Assert
                .Single(JsonDocument.Parse(json.Output).RootElement.GetProperty("refused").EnumerateArray())
                .GetProperty("protocol")
                .GetString()
        );
    }

    [Fact]
    public void Check_reads_every_header_that_a_spec_was_made_from()
    {
        string include = Path.Combine(_folder.Path, "tree", "include", "xen");
        Directory.CreateDirectory(include);
        File.WriteAllText(Path.Combine(include, "first.h"), "struct first { uint32_t a; };\n");
        File.WriteAllText(Path.Combine(include, "second.h"), "struct second { uint32_t b; };\n");
        string spec = _folder.PathOf("both.xml");
        Succeed("abi", "import", Path.Combine(include, "first.h"), Path.Combine(include, "second.h"), "-o", spec);
        Assert.Matches("^first: the same as ", Succeed("abi", "check", "--spec", spec, "--headers", include));

        File.WriteAllText(Path.Combine(include, "second.h"), "struct second { uint64_t b; };\n");
        using BlkringProcess check = BlkringProcess.Run(
            _folder.Path,
            "abi",
            "check",
            "--spec",
            spec,
            "--headers",
            include
        );

        Assert.Equal(1, check.ExitCode);
        Assert.Contains(
            "incompatible  first: struct second (native, x86_32, x86_64): size 4 -> 8\n",
            check.Output,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void Without_libclang_the_package_to_install_is_named()
    {
        using BlkringProcess import = BlkringProcess.RunWith(
            [("BLKRING_LIBCLANG", _folder.PathOf("libclang-none.so"))],
            _folder.Path,
            "abi",
            "import",
            Path.Combine(InstalledHeaders, "io", "blkif.h"),
            "-o",
            _folder.PathOf("imported.xml")
        );

        Assert.Equal((2, ""), (import.ExitCode, import.Output));
        Assert.Equal(
            "blkring: libclang is not installed; it is needed to read headers. "
                + "On Debian: apt install libclang1 (or libclang1-14, any version from 11 on).",
            Assert.Single(import.ErrorLines)
        );
        Assert.False(File.Exists(_folder.PathOf("imported.xml")));
    }

    [Fact]
    public void A_header_that_does_not_compile_could_not_be_checked()
    {
        string tree = CopyHeaders("uint8_t        flag;", "uint8_t flag");

        AssertRefused("io/blkif.h:", "abi", "check", "--headers", tree);
        AssertRefused(
            "has no io/blkif.h",
            "abi",
            "check",
            "--headers",
            Directory.CreateDirectory(_folder.PathOf("empty")).FullName
        );
    }

    /// <summary>The installed headers with one edit in io/blkif.h.</summary>
    private string CopyHeaders(string old, string edited)
    {
        string tree = _folder.PathOf("xen");
        foreach (string file in Directory.GetFiles(InstalledHeaders, "*.h", SearchOption.AllDirectories))
        {
            string copy = Path.Combine(tree, Path.GetRelativePath(InstalledHeaders, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }
        string header = Path.Combine(tree, "io", "blkif.h"),
            text = File.ReadAllText(header);
        // The first only: a comment further down may repeat a member.
        int at = text.IndexOf(old, StringComparison.Ordinal);
        Assert.True(at >= 0, $"blkif.h has no '{old}'");
        File.WriteAllText(header, text[..at] + edited + text[(at + old.Length)..]);
        return tree;
    }

    /// <summary>The names in the JSON that the command prints, each once.</summary>
    private string[] StructsOf(params string[] arguments) =>
        [
            .. JsonDocument
                .Parse(Succeed(arguments))
                .RootElement.EnumerateArray()
                .Select(row => row.GetProperty("struct").GetString()!)
                .Distinct(),
        ];

    private static string Spec(string name) => Path.Combine(Repository.Root, "abi", name);

    /// <summary>A copy of blkif.xml, edited.</summary>
    private string Edit(string old, string edited)
    {
        string text = File.ReadAllText(Spec("blkif.xml"));
        Assert.Contains(old, text, StringComparison.Ordinal);
        File.WriteAllText(_folder.PathOf("blkif.xml"), text.Replace(old, edited, StringComparison.Ordinal));
        return _folder.PathOf("blkif.xml");
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
