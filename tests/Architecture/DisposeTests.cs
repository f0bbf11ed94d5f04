using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Blkring.Architecture.Tests;

/// <summary>
/// A Dispose runs while a failed assertion passes by, and what it throws would hide that. So what the tests' rigs
/// notice goes to the Kit's <c>Violations</c>, and none of them asserts or throws at its end.
/// </summary>
public sealed partial class DisposeTests
{
    [Fact]
    public void No_Dispose_of_the_tests_asserts_or_throws()
    {
        string[] offences = [.. Sources.FilesOf("tests").SelectMany(file => Offences(file, Repository.Read(file)))];
        Assert.True(offences.Length == 0, string.Join('\n', offences));
    }

    [Theory]
    [InlineData("void Dispose() => Assert.True(x);", "Assert.True")]
    [InlineData("void Dispose() { if (x) throw new E(); }", "throw")]
    [InlineData("void IDisposable.Dispose() => y = x ?? throw new E();", "throw")]
    [InlineData("ValueTask DisposeAsync() { Wait.Until(x); }", "Wait.Until")]
    [InlineData("void Dispose() { Close(); } void Close() { Assert.Empty(x); }", "Assert.Empty")]
    [InlineData("void Dispose() { Verify(); }", "Verify")]
    public void One_that_does_would_be_noticed(string members, string what) =>
        Assert.Equal([$"f: C.{what} in Dispose"], Offences("f", $"class C {{ {members} }}"));

    [Theory]
    [InlineData("void Dispose() => Violations.Report(x);")]
    [InlineData("void Dispose() { a.Dispose(); } void Verify() { Assert.Empty(x); }")]
    [InlineData("void Dispose() { foreach (var x in y) x.Dispose(); }")]
    public void One_that_does_not_is_left_alone(string members) =>
        Assert.Empty(Offences("f", $"class C {{ {members} }}"));

    // The methods of the same class that Dispose calls are a part of it.
    private static IEnumerable<string> Offences(string file, string source) =>
        from type in CSharpSyntaxTree.ParseText(source).GetRoot().DescendantNodes().OfType<TypeDeclarationSyntax>()
        let methods = type.Members.OfType<MethodDeclarationSyntax>().ToArray()
        from method in methods
        where method.Identifier.Text is "Dispose" or "DisposeAsync"
        from what in CalledBy(method, methods, []).SelectMany(Throwing).Distinct()
        select $"{file}: {type.Identifier.Text}.{what} in Dispose";

    private static IEnumerable<MethodDeclarationSyntax> CalledBy(
        MethodDeclarationSyntax method,
        MethodDeclarationSyntax[] methods,
        HashSet<MethodDeclarationSyntax> seen
    )
    {
        if (!seen.Add(method))
            return [];
        IEnumerable<string> names = method
            .DescendantNodes()
            .OfType<InvocationExpressionSyntax>()
            .Select(call => call.Expression)
            .OfType<SimpleNameSyntax>()
            .Select(name => name.Identifier.Text);
        return names
            .SelectMany(name => methods.Where(other => other.Identifier.Text == name))
            .SelectMany(other => CalledBy(other, methods, seen))
            .Prepend(method);
    }

    private static IEnumerable<string> Throwing(MethodDeclarationSyntax method) =>
        from node in method.DescendantNodes()
        let what = node switch
        {
            ThrowStatementSyntax or ThrowExpressionSyntax => "throw",
            InvocationExpressionSyntax call => call.Expression.ToString(),
            _ => "",
        }
        where Throws().IsMatch(what)
        select what;

    [GeneratedRegex(@"^(throw|Assert\..*|Wait\..*|Verify|Violations\.(Verify|ThrowIfAny))$", RegexOptions.Singleline)]
    private static partial Regex Throws();
}
