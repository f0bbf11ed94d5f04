using System.Text.Json;
using BenchmarkDotNet.Reports;
using Blkring.Micro;
using Xunit;

namespace Blkring.Bench.Tests;

/// <summary>Whether the benchmarks still run, so that none rots; nothing here looks at how fast they are.</summary>
public sealed class TinyRunTests : IDisposable
{
    /// <summary>Three, so that the median is not every other average too.</summary>
    private const string Rounds = "3";

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Every_micro_benchmark_runs_and_is_measured_for_garbage()
    {
        IReadOnlyList<Summary> summaries = MicroBenchmarks.RunTiny(_directory.Path);

        Assert.Equal(MicroBenchmarks.All.Count, summaries.Count);
        Assert.All(
            summaries,
            summary =>
            {
                Assert.False(
                    summary.HasCriticalValidationErrors,
                    string.Join('\n', summary.ValidationErrors.Select(error => error.Message))
                );
                Assert.NotEmpty(summary.Reports);
                Assert.All(
                    summary.Reports,
                    report =>
                    {
                        Assert.True(report.Success, report.BenchmarkCase.DisplayInfo);
                        Assert.NotNull(report.GcStats.GetBytesAllocatedPerOperation(report.BenchmarkCase));
                    }
                );
            }
        );
    }

    [Fact]
    public void The_ring_alone_runs_beside_the_C_program()
    {
        string reference = BuildReference();

        JsonElement result = RunLoad(
            "ring",
            "--reference",
            reference,
            "--seconds",
            "0.1",
            "--rounds",
            Rounds,
            "--json"
        );

        JsonElement comparisons = result.GetProperty("comparisons");
        Assert.Equal(4, comparisons.GetArrayLength());
        foreach (JsonElement comparison in comparisons.EnumerateArray())
            AssertMeasured(comparison);
        Assert.Contains(
            "allocated by the backend: 0",
            result.GetProperty("notes").ToString(),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void A_whole_disk_runs_beside_fio()
    {
        JsonElement result = RunLoad("disk", "--seconds", "0.1", "--rounds", Rounds, "--json");

        JsonElement comparisons = result.GetProperty("comparisons");
        Assert.Equal(4, comparisons.GetArrayLength());
        foreach (JsonElement comparison in comparisons.EnumerateArray())
            AssertMeasured(comparison);
        Assert.Contains(
            "allocated by the data path: 0",
            result.GetProperty("notes").ToString(),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void A_guest_beside_a_hostile_one_runs_and_its_data_is_right()
    {
        JsonElement result = RunLoad("hostile", "--requests", "100000", "--seconds", "0.1", "--rounds", "1", "--json");

        Assert.True(result.GetProperty("fuzzed").GetInt64() >= 100_000);
        Assert.True(result.GetProperty("answered").GetInt64() > 0);
        Assert.True(result.GetProperty("served").GetInt64() > 0);
        Assert.True(result.GetProperty("verified").GetInt64() > 0);
        Assert.Equal(JsonValueKind.Null, result.GetProperty("problem").ValueKind);
    }

    [Fact]
    [Proves("F18")]
    public void A_guest_runs_beside_one_that_floods_its_thread()
    {
        JsonElement result = RunLoad("fair", "--seconds", "0.1", "--rounds", "1", "--json");

        JsonElement rows = result.GetProperty("rows");
        Assert.Equal(6, rows.GetArrayLength());
        foreach (JsonElement row in rows.EnumerateArray())
        {
            double Figure(string name) => row.GetProperty(name).GetDouble();
            Assert.True(0 < Figure("aloneP50Us") && Figure("aloneP50Us") <= Figure("aloneP99Us"));
            Assert.True(0 < Figure("besideP50Us") && Figure("besideP50Us") <= Figure("besideP99Us"));
            Assert.Equal(Figure("besideP50Us") / Figure("aloneP50Us"), Figure("ratioP50"), precision: 6);
            Assert.True(Figure("floodMegabytesPerSecond") > 0);
            Assert.Equal(0, Figure("allocatedBytes"));
        }
    }

    [Fact]
    [Proves("F18")]
    public void No_request_of_a_guest_waits_for_a_disk_that_hangs_beside_it()
    {
        ProgramResult run = RunLoadProgram("hung", "--seconds", "0.1", "--rounds", "1", "--json");
        Assert.SkipWhen(run.ExitCode == 2, run.Errors);

        JsonElement rows = JsonDocument.Parse(run.Output).RootElement.GetProperty("rows");
        Assert.Equal(3, rows.GetArrayLength());
        foreach (JsonElement row in rows.EnumerateArray())
        {
            Assert.Equal(0, row.GetProperty("waiting").GetInt32());
            Assert.True(row.GetProperty("requests").GetInt64() > 0);
        }
    }

    [Fact]
    [Proves("F19")]
    public void Looking_before_sleeping_runs_beside_sleeping_at_once()
    {
        JsonElement result = RunLoad("poll", "--seconds", "0.1", "--rounds", Rounds, "--json");

        JsonElement comparisons = result.GetProperty("comparisons");
        Assert.Equal(4, comparisons.GetArrayLength());
        foreach (JsonElement comparison in comparisons.EnumerateArray())
            AssertMeasured(comparison);
        Assert.Contains(
            "allocated by the data path: 0",
            result.GetProperty("notes").ToString(),
            StringComparison.Ordinal
        );
    }

    [Theory]
    [InlineData("ring", "--reference", "/no/such/program")]
    [InlineData("disk", "--image", "/no/such/image")]
    public void What_is_missing_is_named_in_one_line(params string[] arguments)
    {
        (int exit, string output, string errors) = RunLoadProgram(arguments);

        Assert.Equal(2, exit);
        Assert.Empty(output);
        Assert.Single(errors.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.Contains("/no/such/", errors, StringComparison.Ordinal);
    }

    private static void AssertMeasured(JsonElement comparison)
    {
        double[] ratios = [.. comparison.GetProperty("pairs").EnumerateArray().Select(RatioOf).Order()];
        // The median of three pairs is no other figure: not the mean, the first, the last, nor a ratio of medians.
        Assert.Equal(3, ratios.Length);
        Assert.Equal(ratios[1], comparison.GetProperty("medianRatio").GetDouble(), precision: 9);
        double target = comparison.TryGetProperty("target", out JsonElement least) ? least.GetDouble() : 0;
        Assert.Equal(ratios[1] >= target, comparison.GetProperty("holds").GetBoolean());
    }

    private static double RatioOf(JsonElement pair)
    {
        (double ours, double mark) = (pair.GetProperty("blkring").GetDouble(), pair.GetProperty("mark").GetDouble());
        Assert.True(ours > 0 && mark > 0, $"nothing was measured: {pair}");
        return ours / mark;
    }

    /// <summary>Exit 1 says that a target was missed, which a tiny run on a busy machine may do.</summary>
    private static JsonElement RunLoad(params string[] arguments)
    {
        (int exit, string output, string errors) = RunLoadProgram(arguments);
        Assert.True(exit is 0 or 1, $"exit {exit}: {errors}");
        JsonElement result = JsonDocument.Parse(output).RootElement;
        if (result.TryGetProperty("comparisons", out JsonElement comparisons))
            Assert.Equal(
                exit == 0,
                comparisons.EnumerateArray().All(comparison => comparison.GetProperty("holds").GetBoolean())
            );
        return result;
    }

    private string BuildReference()
    {
        string program = _directory.PathOf("ring");
        CCompiler.Compile(["-O2", "-pthread", "-o", program, Repository.PathOf("bench/reference/ring.c")]);
        return program;
    }

    private static ProgramResult RunLoadProgram(params string[] arguments) =>
        Programs.Run("dotnet", [Path.Combine(AppContext.BaseDirectory, "blkring-load.dll"), .. arguments]);
}
