using System.Text.RegularExpressions;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests.Tables;

/// <summary>docs/features.md names nothing that is not there.</summary>
public sealed partial class FeaturesTableTests
{
    private const int Features = 21,
        Columns = 9;

    private sealed record Row(string Number, string[] Cells)
    {
        public IEnumerable<string> Places => Quoted(Cells[7]);
        public string[] Tests => [.. Quoted(Cells[8])];
    }

    [Fact]
    public void The_rows_are_complete_and_in_order()
    {
        List<Row> rows = Rows();
        Assert.Equal(Enumerable.Range(1, Features).Select(number => $"F{number}"), rows.Select(row => row.Number));
        Assert.All(rows, row => Assert.All(row.Cells, cell => Assert.NotEqual("", cell)));
        Assert.All(rows, row => Assert.NotEmpty(row.Places));
        Assert.All(rows, row => Assert.NotEmpty(row.Tests));
    }

    [Fact]
    public void Every_file_and_member_named_exists() =>
        Assert.All(
            Rows(),
            row =>
                Assert.All(
                    row.Places,
                    place =>
                        Assert.True(
                            place.Contains('/', StringComparison.Ordinal)
                                ? File.Exists(Repository.PathOf(place))
                                : BehaviourTableTests.IsMember(place),
                            $"{row.Number}: there is no {place}"
                        )
                )
        );

    // They are in several projects, so their sources are asked.
    [Fact]
    public void Every_test_named_exists() =>
        Assert.All(
            Rows(),
            row => Assert.All(row.Tests, test => Assert.True(IsTest(test), $"{row.Number}: there is no test {test}"))
        );

    [Fact]
    public void Tests_that_do_not_exist_would_be_noticed()
    {
        Assert.True(IsTest($"{nameof(FeaturesTableTests)}.{nameof(Every_test_named_exists)}"));
        Assert.False(IsTest($"{nameof(FeaturesTableTests)}.{nameof(IsTest)}"));
        Assert.False(IsTest($"{nameof(FeaturesTableTests)}.No_such_test"));
        Assert.False(IsTest("NoSuchTests.No_such_test"));
    }

    /// <summary>
    /// Keys are written by one class, or read from the frontend: a key that is in neither place is no key of ours.
    /// </summary>
    [Fact]
    public void Every_key_named_is_one_of_the_control_planes()
    {
        string sources = string.Concat(
            Directory.GetFiles(Repository.PathOf("src/Engine/Xenbus"), "*.cs").Select(File.ReadAllText)
        );
        Assert.All(
            Rows(),
            row =>
                Assert.All(
                    row.Cells[2].Split(", ").Where(key => key != "none"),
                    key =>
                        Assert.True(
                            sources.Contains(key, StringComparison.Ordinal),
                            $"{row.Number}: the control plane knows no key {key}"
                        )
                )
        );
    }

    private static bool IsTest(string test)
    {
        string[] name = test.Split('.');
        Assert.True(name.Length == 2, $"'{test}' is not Class.Method");
        Regex method = new(
            $@"\[(Fact|Theory)\b[^\n]*\]\s*(\[[^\n]*\]\s*)*public (async |unsafe )*(void|Task) {Regex.Escape(name[1])}\("
        );
        return Directory
            .GetDirectories(Repository.PathOf("tests"))
            .Select(project => Path.Combine(project, name[0] + ".cs"))
            .Any(file => File.Exists(file) && method.IsMatch(File.ReadAllText(file)));
    }

    private static List<Row> Rows()
    {
        List<Row> rows = [];
        foreach (string line in File.ReadLines(Repository.PathOf("docs/features.md")))
        {
            if (!RowStart().IsMatch(line))
                continue;
            string[] cells = [.. line.Trim().Trim('|').Split('|').Select(cell => cell.Trim())];
            Assert.True(cells.Length == Columns, $"a row of {cells.Length} cells: {line[..20]}");
            rows.Add(new Row(cells[0], cells));
        }
        return rows;
    }

    private static IEnumerable<string> Quoted(string cell) =>
        Code().Matches(cell).Select(match => match.Groups[1].Value);

    [GeneratedRegex(@"^\| *F\d+ *\|")]
    private static partial Regex RowStart();

    [GeneratedRegex("`([^`]+)`")]
    private static partial Regex Code();
}
