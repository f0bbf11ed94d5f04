using System.Text.RegularExpressions;

namespace Blkring.Architecture.Tests;

/// <summary>Each rule in docs/security.md names a test that exists.</summary>
public sealed partial class SecurityTableTests
{
    private const string Document = "docs/security.md";

    [Fact]
    public void Every_advisory_has_a_test_that_exists()
    {
        string[] sources = [.. Sources.FilesOf("tests").Select(file => Repository.Read(file))];
        string[] rows = [.. File.ReadLines(Repository.PathOf(Document)).Where(line => RowStart().IsMatch(line))];
        Assert.True(rows.Length > 5, "the document names no advisories");
        foreach (string row in rows)
        {
            Match test = TestName().Match(row);
            Assert.True(test.Success, $"no test in: {row}");
            string declared = $" class {test.Groups[1].Value}",
                method = $" {test.Groups[2].Value}(";
            Assert.True(
                sources.Any(source =>
                    source.Contains(declared, StringComparison.Ordinal)
                    && source.Contains(method, StringComparison.Ordinal)
                ),
                $"no test {test.Value}"
            );
        }
    }

    [GeneratedRegex(@"^\| (XSA|CVE)-")]
    private static partial Regex RowStart();

    [GeneratedRegex(@"`(\w+)\.(\w+)` \|$")]
    private static partial Regex TestName();
}
