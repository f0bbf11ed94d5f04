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
        IncrementalValuesProvider<SpecReading> readings = context
            .AdditionalTextsProvider.Combine(context.AnalyzerConfigOptionsProvider)
            .Where(static file =>
                file.Right.GetOptions(file.Left)
                    .TryGetValue("build_metadata.AdditionalFiles.BlkringSpec", out string? isSpec)
                && string.Equals(isSpec, "true", StringComparison.OrdinalIgnoreCase)
            )
            .Select(static (file, _) => file.Left)
            .WithTrackingName(Steps.Files)
            .Select(static (file, cancellation) => SpecReader.Read(file.Path, file.GetText(cancellation), cancellation))
            .WithTrackingName(Steps.Readings);

        // Two files of one protocol would emit the same types: the first file owns it. Only names go in here, so that
        // editing one spec does not touch what depends on another.
        IncrementalValueProvider<EquatableArray<SpecOwner>> owners = readings
            .Where(static reading => reading.Spec is not null)
            .Select(static (reading, _) => SpecOwner.Of(reading))
            .Collect()
            .Select(static (owners, _) => owners.ToEquatableArray())
            .WithTrackingName(Steps.Owners);

        ReportProblems(context, readings, owners);
        EmitSources(context, readings, owners);
    }

    private static void ReportProblems(
        IncrementalGeneratorInitializationContext context,
        IncrementalValuesProvider<SpecReading> readings,
        IncrementalValueProvider<EquatableArray<SpecOwner>> owners
    )
    {
        var problems = readings.SelectMany(static (reading, _) => reading.Problems).WithTrackingName(Steps.Problems);
        context.RegisterSourceOutput(
            problems,
            static (output, problem) => output.ReportDiagnostic(problem.ToDiagnostic())
        );

        var repeated = readings
            .Where(static reading => reading.Spec is not null)
            .Combine(owners)
            .Where(static pair => !SpecOwner.Of(pair.Left).IsFirstOf(pair.Right))
            .WithTrackingName(Steps.Repeated);
        context.RegisterSourceOutput(
            repeated,
            static (output, pair) =>
                output.ReportDiagnostic(
                    new DiagnosticInfo(
                        Descriptors.DuplicateProtocol,
                        pair.Left.At,
                        new EquatableArray<string>([
                            pair.Left.Spec!.Name,
                            SpecOwner.Of(pair.Left).FirstOf(pair.Right).Path,
                        ])
                    ).ToDiagnostic()
                )
        );
    }

    private static void EmitSources(
        IncrementalGeneratorInitializationContext context,
        IncrementalValuesProvider<SpecReading> readings,
        IncrementalValueProvider<EquatableArray<SpecOwner>> owners
    )
    {
        var specs = readings
            .Where(static reading => reading.Spec is not null)
            .Select(static (reading, _) => (Spec: reading.Spec!, Owner: SpecOwner.Of(reading)))
            .WithTrackingName(Steps.Specs);
        var layouts = specs
            .Combine(owners)
            .Where(static pair => pair.Left.Owner.IsFirstOf(pair.Right))
            // What SpecReader has checked has a layout.
            .Select(static (pair, _) => LayoutCalculator.Calculate(pair.Left.Spec, problems: null)!)
            .WithTrackingName(Steps.Layouts);
        var files = layouts
            .SelectMany(static (layout, _) => ProtocolEmitter.Emit(layout))
            .WithTrackingName(Steps.Sources);
        context.RegisterSourceOutput(files, static (output, file) => output.AddSource(file.HintName, file.Text));
    }

    /// <summary>
    /// Which file declares a protocol. Protocols whose classes differ only in case are one: generated files' names
    /// ignore it.
    /// </summary>
    private sealed record SpecOwner(string ClassName, string Path)
    {
        public static SpecOwner Of(SpecReading reading) => new(CSharpName.Pascal(reading.Spec!.Name), reading.At.Path);

        public SpecOwner FirstOf(EquatableArray<SpecOwner> owners) =>
            owners.First(o => string.Equals(o.ClassName, ClassName, StringComparison.OrdinalIgnoreCase));

        public bool IsFirstOf(EquatableArray<SpecOwner> owners) => FirstOf(owners) == this;
    }
}

/// <summary>Names of the pipeline's steps, by which tests ask why each ran.</summary>
internal static class Steps
{
    public const string Files = nameof(Files);
    public const string Readings = nameof(Readings);
    public const string Owners = nameof(Owners);
    public const string Problems = nameof(Problems);
    public const string Repeated = nameof(Repeated);
    public const string Specs = nameof(Specs);
    public const string Layouts = nameof(Layouts);
    public const string Sources = nameof(Sources);
}
