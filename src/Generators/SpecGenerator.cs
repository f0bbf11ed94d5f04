using Blkring.Generators.Diagnostics;
using Blkring.Generators.Emit;
using Blkring.Generators.Layout;
using Blkring.Generators.Model;
using Blkring.Generators.Parsing;
using Microsoft.CodeAnalysis;

namespace Blkring.Generators;

/// <summary>
/// Specs of Xen's protocols (AdditionalFiles with BlkringSpec="true") to C#: read, lay out, emit. Nothing here sees the
/// compilation, so editing C# regenerates nothing.
/// </summary>
[Generator(LanguageNames.CSharp)]
public sealed class SpecGenerator : IIncrementalGenerator
{
    public void Initialize(IncrementalGeneratorInitializationContext context)
    {
        IncrementalValuesProvider<SpecReading> readings = context.AdditionalTextsProvider
            .Combine(context.AnalyzerConfigOptionsProvider)
            .Where(static file => file.Right.GetOptions(file.Left).TryGetValue("build_metadata.AdditionalFiles.BlkringSpec", out string? isSpec)
                && string.Equals(isSpec, "true", StringComparison.OrdinalIgnoreCase))
            .Select(static (file, _) => file.Left)
            .WithTrackingName(Steps.Files)
            .Select(static (file, cancellation) => SpecReader.Read(file.Path, file.GetText(cancellation), cancellation))
            .WithTrackingName(Steps.Readings);

        ReportProblems(context, readings);
        EmitSources(context, readings);
    }

    private static void ReportProblems(IncrementalGeneratorInitializationContext context, IncrementalValuesProvider<SpecReading> readings)
    {
        var problems = readings
            .SelectMany(static (reading, _) => reading.Problems)
            .WithTrackingName(Steps.Problems);
        context.RegisterSourceOutput(problems, static (output, problem) => output.ReportDiagnostic(problem.ToDiagnostic()));
    }

    private static void EmitSources(IncrementalGeneratorInitializationContext context, IncrementalValuesProvider<SpecReading> readings)
    {
        var specs = readings
            .Where(static reading => reading.Spec is not null)
            .Select(static (reading, _) => reading.Spec!)
            .WithTrackingName(Steps.Specs);
        var layouts = specs
            .Select(static (spec, _) => LayoutCalculator.Calculate(spec, problems: null)!)
            .WithTrackingName(Steps.Layouts);
        var files = layouts
            .SelectMany(static (layout, _) => ProtocolEmitter.Emit(layout))
            .WithTrackingName(Steps.Sources);
        context.RegisterSourceOutput(files, static (output, file) => output.AddSource(file.HintName, file.Text));
    }
}

/// <summary>Names of the pipeline's steps, by which tests ask why each ran.</summary>
internal static class Steps
{
    public const string Files = nameof(Files);
    public const string Readings = nameof(Readings);
    public const string Problems = nameof(Problems);
    public const string Specs = nameof(Specs);
    public const string Layouts = nameof(Layouts);
    public const string Sources = nameof(Sources);
}
