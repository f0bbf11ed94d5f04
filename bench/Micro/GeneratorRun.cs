using System.Collections.Immutable;
using BenchmarkDotNet.Attributes;
using Blkring.Generators;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Text;

namespace Blkring.Micro;

/// <summary>
/// The source generator on the specs of abi/: what it costs once per build, and at every keystroke in an editor.
/// </summary>
public class GeneratorRun
{
    private const string Edited = "blkif.xml",
        OldText = "\"BLKIF_OP_READ\" value=\"0\"",
        NewText = "\"BLKIF_OP_READ\" value=\"7\"";

    private readonly ImmutableArray<AdditionalText> _specs =
    [
        .. Directory
            .GetFiles(Path.Combine(AppContext.BaseDirectory, "abi"), "*.xml")
            .Order(StringComparer.Ordinal)
            .Select(AdditionalText (path) => new Spec(path, File.ReadAllText(path))),
    ];

    private readonly CSharpCompilation _compilation = CSharpCompilation.Create(
        "Edited",
        [CSharpSyntaxTree.ParseText("class Before;")]
    );
    private CSharpCompilation _editedCompilation = null!;
    private AdditionalText _spec = null!,
        _editedSpec = null!;
    private GeneratorDriver _warm = null!;

    [GlobalSetup]
    public void Setup()
    {
        _editedCompilation = _compilation.AddSyntaxTrees(CSharpSyntaxTree.ParseText("class After;"));
        _spec = _specs.Single(spec => Path.GetFileName(spec.Path) == Edited);
        string text = _spec.GetText()!.ToString();
        _editedSpec = new Spec(_spec.Path, text.Replace(OldText, NewText, StringComparison.Ordinal));
        if (_editedSpec.GetText()!.ToString() == text)
            throw new InvalidOperationException($"{Edited} has no {OldText} to edit");
        _warm = CreateDriver().RunGenerators(_compilation);
        if (_warm.GetRunResult().GeneratedTrees.Length == 0)
            throw new InvalidOperationException("the generator made nothing");
    }

    /// <summary>Everything is parsed, laid out and emitted.</summary>
    [Benchmark(Baseline = true)]
    public GeneratorDriver Cold() => CreateDriver().RunGenerators(_compilation);

    /// <summary>Nothing is generated again.</summary>
    [Benchmark]
    public GeneratorDriver AfterAnEditOfCSharp() => _warm.RunGenerators(_editedCompilation);

    /// <summary>One protocol is generated again.</summary>
    [Benchmark]
    public GeneratorDriver AfterAnEditOfOneSpec() =>
        _warm.ReplaceAdditionalText(_spec, _editedSpec).RunGenerators(_compilation);

    private CSharpGeneratorDriver CreateDriver() =>
        CSharpGeneratorDriver.Create(
            [new SpecGenerator().AsSourceGenerator()],
            _specs,
            CSharpParseOptions.Default,
            new EverySpec()
        );

    private sealed class Spec(string path, string text) : AdditionalText
    {
        private readonly SourceText _text = SourceText.From(text);

        public override string Path => path;

        public override SourceText GetText(CancellationToken cancellationToken = default) => _text;
    }

    /// <summary>Every additional file is marked as a spec.</summary>
    private sealed class EverySpec : AnalyzerConfigOptionsProvider
    {
        private static readonly AnalyzerConfigOptions s_options = new Marked();

        public override AnalyzerConfigOptions GlobalOptions => s_options;

        public override AnalyzerConfigOptions GetOptions(SyntaxTree tree) => s_options;

        public override AnalyzerConfigOptions GetOptions(AdditionalText textFile) => s_options;

        private sealed class Marked : AnalyzerConfigOptions
        {
            public override bool TryGetValue(string key, out string value)
            {
                value = "true";
                return key == "build_metadata.AdditionalFiles.BlkringSpec";
            }
        }
    }
}
