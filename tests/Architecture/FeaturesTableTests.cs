using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Blkring.Architecture.Tests;

/// <summary>docs/features.md names nothing that is not there.</summary>
public sealed partial class FeaturesTableTests
{
    public const string Document = "docs/features.md";
    private const int Features = 21,
        Columns = 7;
    private const int MaxLineLength = 120;

    private readonly ProofDocument _document = new(Document);

    private static IEnumerable<string> Numbers => Enumerable.Range(1, Features).Select(number => $"F{number}");

    [Fact]
    public void The_table_is_complete_and_in_order()
    {
        string[][] rows =
        [
            .. File.ReadLines(Repository.PathOf(Document))
                .Where(line => RowStart().IsMatch(line))
                .Select(line => line.Trim().Trim('|').Split('|').Select(cell => cell.Trim()).ToArray()),
        ];
        Assert.Equal(Numbers, rows.Select(row => row[0]));
        Assert.All(rows, row => Assert.Equal(Columns, row.Length));
        Assert.All(rows, row => Assert.All(row, cell => Assert.NotEqual("", cell)));
    }

    [Fact]
    public void Every_feature_has_its_keys_a_place_and_a_test()
    {
        Assert.Equal(Numbers, _document.Sections.Select(section => section.Number));
        Assert.All(
            _document.Sections,
            section =>
            {
                Assert.NotEmpty(section.Keys);
                Assert.NotEmpty(section.Code);
                Assert.Contains(TestCatalog.Proofs, proof => proof.Facts.Contains(section.Number));
            }
        );
    }

    [Fact]
    public void No_line_is_too_long_to_read() => Assert.InRange(_document.LongestLine, 1, MaxLineLength);

    // The tests are in several projects, so their sources are read.
    [Fact]
    public void Every_test_and_every_type_is_linked() =>
        CheckedFile.Check(Document, _document.Written(TestCatalog.Proofs));

    /// <summary>A key of the document that the control plane neither writes nor reads is an error.</summary>
    [Fact]
    public void Every_key_named_is_one_of_the_control_planes()
    {
        const string Declarations = "src/Engine/Xenbus/XenstoreKeys.cs";
        HashSet<string> used = KeysUsed(
            Repository.Read(Declarations),
            Sources
                .FilesOf("src/Engine/Xenbus")
                .Where(file => file != Declarations)
                .Select(file => Repository.Read(file))
        );
        Assert.All(
            _document.Sections,
            section =>
                Assert.All(
                    section.Keys.Where(key => key != "none"),
                    key => Assert.True(used.Contains(key), $"{section.Number}: no key {key}")
                )
        );
    }

    [Fact]
    public void A_key_that_is_declared_and_not_used_would_be_noticed()
    {
        const string Declarations = """
            class XenstoreKeys { public const string Left = "left", Used = "used", Told = "told", Unused = "unused"; }
            """;
        const string User = """
            class C { string k = XenstoreKeys.Used + Other.Left + "unused" + nameof(Told); } // XenstoreKeys.Told
            """;
        Assert.Equal(["used"], KeysUsed(Declarations, [User]));
    }

    /// <summary>
    /// The values of the constants that other files name. A constant leaves no trace in an assembly, so the sources
    /// are read: as syntax, for a key in a comment or as a part of a longer one is not used.
    /// </summary>
    private static HashSet<string> KeysUsed(string declarations, IEnumerable<string> users)
    {
        HashSet<string> names =
        [
            .. users
                .SelectMany(user => CSharpSyntaxTree.ParseText(user).GetRoot().DescendantNodes())
                .OfType<MemberAccessExpressionSyntax>()
                .Where(access => access.Expression.ToString() == "XenstoreKeys")
                .Select(access => access.Name.Identifier.Text),
        ];
        return CSharpSyntaxTree
            .ParseText(declarations)
            .GetRoot()
            .DescendantNodes()
            .OfType<VariableDeclaratorSyntax>()
            .Where(constant => names.Contains(constant.Identifier.Text))
            .Select(constant => constant.Initializer?.Value)
            .OfType<LiteralExpressionSyntax>()
            .Select(value => value.Token.ValueText)
            .ToHashSet();
    }

    [GeneratedRegex(@"^\| *F\d+ *\|")]
    private static partial Regex RowStart();
}
