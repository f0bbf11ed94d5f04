using System.Globalization;

namespace Blkring.Integration.Tests;

/// <summary>
/// B1, the line marked Better, on the native build: the data path allocates nothing. tests/Engine asks the same of the
/// build of the runtime's own compiler.
/// </summary>
public sealed class NativeGateTests
{
    [Fact]
    public void The_native_data_path_leaves_no_garbage()
    {
        string? program = Environment.GetEnvironmentVariable("NATIVE_GATE");
        Assert.SkipWhen(program is null, "no native gate program: run './test Integration'");

        ProgramResult result = Programs.Run(program!, []);

        Assert.Equal((0, ""), (result.ExitCode, result.Errors));
        Dictionary<string, AllocationCounts> counts = result
            .Output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => line.Split('\t'))
            .ToDictionary(
                row => row[0],
                row => new AllocationCounts(Number(row[1]), Number(row[2]), (int)Number(row[3]))
            );
        Assert.Equal(AllocationCase.All.Select(one => one.Name), counts.Keys);
        Assert.All(
            AllocationCase.All,
            one => Assert.True(one.IsPassedBy(counts[one.Name]), $"{one.Name}: {counts[one.Name]}")
        );
        // The negative control allocates: a program that counts nothing fails here.
        Assert.Contains(AllocationCase.All, one => counts[one.Name].ReactorBytes > 0);
    }

    private static long Number(string text) => long.Parse(text, CultureInfo.InvariantCulture);
}
