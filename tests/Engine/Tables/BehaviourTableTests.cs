using System.Reflection;
using System.Text.RegularExpressions;
using Blkring.Engine.Queues;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests.Tables;

/// <summary>docs/behaviour.md says nothing that is not there.</summary>
public sealed partial class BehaviourTableTests
{
    private const int Facts = 23;

    private const BindingFlags Any =
        BindingFlags.Public
        | BindingFlags.NonPublic
        | BindingFlags.Instance
        | BindingFlags.Static
        | BindingFlags.DeclaredOnly;

    private sealed record Row(string Number, string Holds, string[] Places, string[] Tests);

    [Fact]
    public void Every_fact_has_one_row_with_a_place_and_a_test() =>
        Assert.All(
            Rows(),
            row =>
            {
                Assert.True(row.Holds.Length > 30, $"{row.Number} says too little");
                Assert.Contains(
                    row.Places,
                    place => place.Contains('/', StringComparison.Ordinal) || TypesCalled(place.Split('.')[0]).Any()
                );
                Assert.NotEmpty(row.Tests);
            }
        );

    [Fact]
    public void The_rows_are_those_of_the_reference_in_order() =>
        Assert.Equal(Enumerable.Range(1, Facts).Select(number => $"B{number}"), Rows().Select(row => row.Number));

    [Fact]
    public void Every_test_named_is_a_test_of_this_assembly()
    {
        foreach (Row row in Rows())
        {
            foreach (string test in row.Tests)
            {
                string[] name = test.Split('.');
                Assert.True(name.Length == 2, $"{row.Number}: '{test}' is not Class.Method");
                MethodInfo? method = typeof(BehaviourTableTests)
                    .Assembly.GetType($"{typeof(BehaviourTableTests).Namespace}.{name[0]}")
                    ?.GetMethod(name[1]);
                Assert.True(method is not null, $"{row.Number}: there is no test {test}");
                FactAttribute? fact = method.GetCustomAttribute<FactAttribute>();
                Assert.True(fact is { Skip: null }, $"{row.Number}: {test} is no test that runs");
            }
        }
    }

    [Fact]
    public void Every_file_and_member_named_exists()
    {
        foreach (Row row in Rows())
        {
            foreach (string place in row.Places)
            {
                bool exists = place.Contains('/', StringComparison.Ordinal)
                    ? File.Exists(Repository.PathOf(place))
                    : IsMember(place);
                Assert.True(exists, $"{row.Number}: there is no {place}");
            }
        }
    }

    [Fact]
    public void Names_that_do_not_exist_would_be_noticed()
    {
        Assert.True(IsMember("VbdQueue.TakeRequests") && IsMember("RingAccess") && IsMember("FaultKind.BrokenRing"));
        Assert.False(IsMember("VbdQueue.TakeNothing") || IsMember("NoSuchType") || IsMember("NoSuchType.Member"));
    }

    internal static bool IsMember(string place)
    {
        string[] name = place.Split('.');
        return TypesCalled(name[0]).Any(type => name.Length == 1 || type.GetMember(name[1], Any).Length > 0);
    }

    // A generic type and its base may share a name: either may have the member.
    private static IEnumerable<Type> TypesCalled(string name) =>
        typeof(VbdQueue).Assembly.GetTypes().Where(type => type.Name.Split('`')[0] == name);

    private static List<Row> Rows()
    {
        List<Row> rows = [];
        foreach (string line in File.ReadLines(Repository.PathOf("docs/behaviour.md")))
        {
            if (!RowStart().IsMatch(line))
                continue;
            string[] cells = line.Trim().Trim('|').Split('|');
            Assert.True(cells.Length == 4, $"a row of {cells.Length} cells: {line[..20]}");
            rows.Add(new Row(cells[0].Trim(), cells[1].Trim(), Quoted(cells[2]), Quoted(cells[3])));
        }
        return rows;
    }

    private static string[] Quoted(string cell) => [.. Code().Matches(cell).Select(match => match.Groups[1].Value)];

    [GeneratedRegex(@"^\| *B\d+ *\|")]
    private static partial Regex RowStart();

    [GeneratedRegex("`([^`]+)`")]
    private static partial Regex Code();
}
