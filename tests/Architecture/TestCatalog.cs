using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Blkring.Architecture.Tests;

/// <summary>A test and the facts or features which it says that it proves.</summary>
internal sealed record Proof(string File, string Class, string Method, IReadOnlyList<string> Facts);

/// <summary>All tests of the tree that carry the attribute Proves, read from their sources.</summary>
internal static class TestCatalog
{
    public static IReadOnlyList<Proof> Proofs { get; } =
    [.. Sources.FilesOf("tests").SelectMany(file => Read(file, Repository.Read(file)))];

    public static IEnumerable<Proof> Read(string file, string source) =>
        from method in CSharpSyntaxTree.ParseText(source).GetRoot().DescendantNodes().OfType<MethodDeclarationSyntax>()
        let attributes = method.AttributeLists.SelectMany(list => list.Attributes).ToArray()
        from proves in attributes.Where(attribute => attribute.Name.ToString() == "Proves")
        where IsRun(file, method, attributes)
        select new Proof(
            file,
            ((BaseTypeDeclarationSyntax)method.Parent!).Identifier.Text,
            method.Identifier.Text,
            [
                .. proves.ArgumentList!.Arguments.Select(argument =>
                    ((LiteralExpressionSyntax)argument.Expression).Token.ValueText
                ),
            ]
        );

    // A proof that never runs proves nothing, so it is an error and not left out.
    private static bool IsRun(string file, MethodDeclarationSyntax method, AttributeSyntax[] attributes)
    {
        AttributeSyntax? test = attributes.FirstOrDefault(attribute => attribute.Name.ToString() is "Fact" or "Theory");
        Assert.True(test is not null, $"{file}: {method.Identifier.Text} has Proves and is no test");
        bool skipped =
            test.ArgumentList?.Arguments.Any(argument => argument.NameEquals?.Name.ToString() == "Skip") == true;
        Assert.False(skipped, $"{file}: {method.Identifier.Text} has Proves and is skipped");
        return true;
    }
}
