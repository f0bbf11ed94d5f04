using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Diagnosers;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Loggers;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.NoEmit;

namespace Blkring.Micro;

public static class MicroBenchmarks
{
    public static IReadOnlyList<Type> All { get; } =
    [
        typeof(RingPass),
        typeof(DecodeAndValidate),
        typeof(NullDiskSubmit),
        typeof(LoopbackRequest),
        typeof(GeneratorRun),
    ];

    /// <summary>
    /// Runs the benchmarks that BenchmarkDotNet's usual command line selects; in this process, because the projects
    /// that it would generate do not find the source generator.
    /// </summary>
    public static int Run(string[] args)
    {
        IEnumerable<Summary> summaries = BenchmarkSwitcher
            .FromTypes([.. All])
            .Run(
                args,
                Config(Job.ShortRun)
                    .AddLogger(ConsoleLogger.Default)
                    .AddColumnProvider(BenchmarkDotNet.Columns.DefaultColumnProviders.Instance)
                    .AddExporter(BenchmarkDotNet.Exporters.MarkdownExporter.GitHub)
            );
        return summaries.Any(summary =>
            summary.HasCriticalValidationErrors || summary.Reports.Any(report => !report.Success)
        )
            ? 1
            : 0;
    }

    /// <summary>Runs one invocation of each benchmark: to see that it still runs, not how fast it is.</summary>
    public static IReadOnlyList<Summary> RunTiny(string artifactsFolder) =>
        [
            .. All.Select(type =>
                BenchmarkRunner.Run(
                    type,
                    Config(Job.Dry).WithArtifactsPath(artifactsFolder).WithOptions(ConfigOptions.DisableLogFile)
                )
            ),
        ];

    private static ManualConfig Config(Job job) =>
        ManualConfig
            .CreateEmpty()
            .AddJob(job.WithToolchain(InProcessNoEmitToolchain.Instance))
            .AddDiagnoser(MemoryDiagnoser.Default)
            .WithOptions(ConfigOptions.JoinSummary);
}
