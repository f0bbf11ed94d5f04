using Blkring.Generators.Diagnostics;
using Blkring.Generators.Emit;
using Blkring.Generators.Layout;
using Blkring.Generators.Model;
using Blkring.Generators.Parsing;
using Microsoft.CodeAnalysis;

namespace Blkring.Generators;

/// <summary>
/// C# from specs (AdditionalFiles with BlkringSpec="true"): read, lay out, emit. No step sees the compilation, so an
/// edit of C# regenerates nothing; no model has positions, so a moved line regenerates nothing either.
/// </summary>
[Generator(LanguageNames.CSharp)]
public sealed class SpecGenerator : IIncrementalGenerator
{
    public void Initialize(IncrementalGeneratorInitializationContext context)
    {
        IncrementalValuesProvider<AdditionalText> files = context
            .AdditionalTextsProvider.Combine(context.AnalyzerConfigOptionsProvider)
            .Where(static file =>
                file.Right.GetOptions(file.Left)
                    .TryGetValue("build_metadata.AdditionalFiles.BlkringSpec", out string? isSpec)
                && string.Equals(isSpec, "true", StringComparison.OrdinalIgnoreCase)
            )
            .Select(static (file, _) => file.Left)
            .WithTrackingName(Steps.Files);
        IncrementalValuesProvider<SpecReading> readings = files
            .Select(static (file, cancellation) => SpecReader.Read(file.Path, file.GetText(cancellation), cancellation))
            .WithTrackingName(Steps.Readings);
        IncrementalValuesProvider<SpecLayout> layouts = readings
            .Where(static reading => reading.Spec is not null)
            .Select(static (reading, _) => (Spec: reading.Spec!, reading.At.Path))
            .WithTrackingName(Steps.Specs)
            .Select(static (spec, _) => new SpecLayout(spec.Path, LayoutCalculator.Calculate(spec.Spec)))
            .WithTrackingName(Steps.Layouts);

        // Two files of one protocol would emit the same types: the first file owns it. Only names go in here, so that
        // editing one spec does not touch what depends on another.
        IncrementalValueProvider<EquatableArray<SpecOwner>> owners = layouts
            .Select(static (layout, _) => layout.Owner)
            .Where(static owner => owner is not null)
            .Collect()
            .Select(static (owners, _) => owners.OfType<SpecOwner>().ToEquatableArray())
            .WithTrackingName(Steps.Owners);

        ReportReadingProblems(context, readings);
        ReportLayoutProblems(context, files, layouts);
        ReportRepeated(context, readings, owners);
        EmitSources(context, layouts, owners);
    }

    private static void ReportReadingProblems(
        IncrementalGeneratorInitializationContext context,
        IncrementalValuesProvider<SpecReading> readings
    ) =>
        context.RegisterSourceOutput(
            readings.SelectMany(static (reading, _) => reading.Problems).WithTrackingName(Steps.Problems),
            static (output, problem) => output.ReportDiagnostic(problem.ToDiagnostic())
        );

    /// <summary>Looks up where a file has what could not be laid out. Without such a problem no text is read.</summary>
    private static void ReportLayoutProblems(
        IncrementalGeneratorInitializationContext context,
        IncrementalValuesProvider<AdditionalText> files,
        IncrementalValuesProvider<SpecLayout> layouts
    )
    {
        var failed = layouts
            .Where(static layout => layout.Result.Layout is null)
            .Collect()
            .Select(static (layouts, _) => layouts.ToEquatableArray());
        var problems = files
            .Combine(failed)
            .SelectMany(
                static (pair, cancellation) =>
                    pair.Right.FirstOrDefault(layout => layout.Path == pair.Left.Path) is { } layout
                    && pair.Left.GetText(cancellation) is { } text
                        ? SpecReader.Locate(layout.Path, text, layout.Result.Problems, cancellation)
                        : default
            )
            .WithTrackingName(Steps.LayoutProblems);
        context.RegisterSourceOutput(
            problems,
            static (output, problem) => output.ReportDiagnostic(problem.ToDiagnostic())
        );
    }

    private static void ReportRepeated(
        IncrementalGeneratorInitializationContext context,
        IncrementalValuesProvider<SpecReading> readings,
        IncrementalValueProvider<EquatableArray<SpecOwner>> owners
    )
    {
        var repeated = readings
            .Where(static reading => reading.Spec is not null)
            .Combine(owners)
            .Where(static pair => SpecOwner.Of(pair.Left).IsRepeatedIn(pair.Right))
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
        IncrementalValuesProvider<SpecLayout> layouts,
        IncrementalValueProvider<EquatableArray<SpecOwner>> owners
    )
    {
        // A step of its own, so that a change of the owners alone emits nothing again.
        IncrementalValuesProvider<ProtocolLayout> owned = layouts
            .Combine(owners)
            .Where(static pair => pair.Left.Owner is { } owner && owner.IsFirstOf(pair.Right))
            .Select(static (pair, _) => pair.Left.Result.Layout!);
        var files = owned
            .SelectMany(static (layout, _) => ProtocolEmitter.Emit(layout))
            .WithTrackingName(Steps.Sources);
        context.RegisterSourceOutput(files, static (output, file) => output.AddSource(file.HintName, file.Text));
    }

    /// <summary>The layout of the spec in the file <paramref name="Path"/>.</summary>
    private sealed record SpecLayout(string Path, LayoutResult Result)
    {
        /// <summary>Null for a spec without a layout: it declares nothing.</summary>
        public SpecOwner? Owner => Result.Layout is { } layout ? new SpecOwner(layout.ClassName, Path) : null;
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

        /// <summary>Whether this file declares a protocol that an earlier file declares.</summary>
        public bool IsRepeatedIn(EquatableArray<SpecOwner> owners) => owners.Contains(this) && !IsFirstOf(owners);
    }
}

/// <summary>Names of the pipeline's steps, by which tests find the reason why each ran.</summary>
internal static class Steps
{
    public const string Files = nameof(Files);
    public const string Readings = nameof(Readings);
    public const string Owners = nameof(Owners);
    public const string Problems = nameof(Problems);
    public const string Repeated = nameof(Repeated);
    public const string Specs = nameof(Specs);
    public const string Layouts = nameof(Layouts);
    public const string LayoutProblems = nameof(LayoutProblems);
    public const string Sources = nameof(Sources);
}
