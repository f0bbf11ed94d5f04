using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Text;

namespace Blkring.Generators.Tests;

/// <summary>A spec file in memory.</summary>
internal sealed class SpecFile(string path, string text) : AdditionalText
{
    public override string Path { get; } = path;

    public override SourceText GetText(CancellationToken cancellationToken = default) => SourceText.From(text);

    public static SpecFile OfTheProject(string name) =>
        new(name, File.ReadAllText(System.IO.Path.Combine(AppContext.BaseDirectory, "abi", name)));
}

/// <summary>Runs the generator as the compiler does.</summary>
internal static class GeneratorKit
{
    private static readonly ImmutableArray<MetadataReference> References =
    [
        .. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!)
            .Split(Path.PathSeparator)
            .Where(path => Path.GetFileName(path).StartsWith("System.", StringComparison.Ordinal))
            .Select(path => MetadataReference.CreateFromFile(path)),
    ];

    public static CSharpCompilation Compilation(params string[] sources) =>
        CSharpCompilation.Create(
            "Generated",
            sources.Select(source => CSharpSyntaxTree.ParseText(source)),
            References,
            new CSharpCompilationOptions(
                OutputKind.DynamicallyLinkedLibrary,
                allowUnsafe: true,
                nullableContextOptions: NullableContextOptions.Enable
            )
        );

    public static GeneratorDriver Driver(params SpecFile[] files) =>
        CSharpGeneratorDriver.Create(
            [new SpecGenerator().AsSourceGenerator()],
            files,
            CSharpParseOptions.Default,
            new SpecOptionsProvider(),
            new GeneratorDriverOptions(IncrementalGeneratorOutputKind.None, trackIncrementalGeneratorSteps: true)
        );

    public static GeneratorRunResult Run(params SpecFile[] files) => Result(Driver(files).RunGenerators(Compilation()));

    public static GeneratorRunResult Result(GeneratorDriver driver)
    {
        GeneratorRunResult result = driver.GetRunResult().Results.Single();
        Assert.Null(result.Exception);
        return result;
    }

    /// <summary>The generated code compiled with <paramref name="sources"/>, without a warning.</summary>
    public static CSharpCompilation Compile(SpecFile[] files, params string[] sources)
    {
        Driver(files)
            .RunGeneratorsAndUpdateCompilation(
                Compilation(sources),
                out Compilation output,
                out ImmutableArray<Diagnostic> problems
            );
        Assert.Empty(problems);
        Assert.Empty(output.GetDiagnostics().Where(d => d.Severity >= DiagnosticSeverity.Warning));
        return (CSharpCompilation)output;
    }

    private sealed class SpecOptionsProvider : AnalyzerConfigOptionsProvider
    {
        public override AnalyzerConfigOptions GlobalOptions { get; } = new Options(isSpec: false);

        public override AnalyzerConfigOptions GetOptions(SyntaxTree tree) => GlobalOptions;

        // A file is a spec by its metadata, not by its name.
        public override AnalyzerConfigOptions GetOptions(AdditionalText textFile) =>
            new Options(textFile.Path.EndsWith(".xml", StringComparison.Ordinal));

        private sealed class Options(bool isSpec) : AnalyzerConfigOptions
        {
            public override bool TryGetValue(string key, out string value)
            {
                value = "true";
                return isSpec && key == "build_metadata.AdditionalFiles.BlkringSpec";
            }
        }
    }
}
