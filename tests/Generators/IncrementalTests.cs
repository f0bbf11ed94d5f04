using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace Blkring.Generators.Tests;

/// <summary>What an edit runs again, and what it does not: the reasons that Roslyn gives for each step.</summary>
public sealed class IncrementalTests
{
    private readonly SpecFile _blkif = SpecFile.OfTheProject("blkif.xml");
    private readonly SpecFile _grants = SpecFile.OfTheProject("grant_table.xml");
    private readonly CSharpCompilation _compilation = GeneratorKit.Compilation("class Before;");
    private readonly GeneratorDriver _driver;
    private SpecFile? _edited;

    public IncrementalTests() =>
        _driver = GeneratorKit
            .Driver(_blkif, _grants)
            .RunGenerators(_compilation, TestContext.Current.CancellationToken);

    [Fact]
    public void The_first_run_makes_everything_new() =>
        Assert.All(
            Reasons(_driver, Steps.Specs, Steps.Layouts, Steps.Sources),
            reason => Assert.Equal(IncrementalStepRunReason.New, reason)
        );

    [Fact]
    public void Nothing_changed_is_all_cached() =>
        AssertAllCached(_driver.RunGenerators(_compilation, TestContext.Current.CancellationToken));

    [Fact]
    public void An_edit_of_CSharp_is_all_cached() =>
        AssertAllCached(
            _driver.RunGenerators(
                _compilation.AddSyntaxTrees(
                    CSharpSyntaxTree.ParseText("class After;", cancellationToken: TestContext.Current.CancellationToken)
                ),
                TestContext.Current.CancellationToken
            )
        );

    [Theory]
    [InlineData("<protocol ", "<!-- a remark -->\n\n\n<protocol ", IncrementalStepRunReason.Modified)]
    [InlineData(
        "  <struct name=\"blkif_request\">",
        "\n\n    <!-- moved -->  <struct   name='blkif_request' >",
        IncrementalStepRunReason.Unchanged
    )]
    [InlineData(
        "Starting ring element for any I/O request.",
        "Starting ring element\n      for any I/O\n      request.",
        IncrementalStepRunReason.Unchanged
    )]
    public void An_edit_of_layout_or_comments_leaves_the_model_unchanged_and_the_output_cached(
        string old,
        string edited,
        IncrementalStepRunReason reading
    )
    {
        GeneratorDriver driver = Edit(old, edited);

        // Only a moved root changes a reading: a diagnostic that the protocol is declared twice would point there.
        Assert.Equal([reading, IncrementalStepRunReason.Cached], Reasons(driver, Steps.Readings));
        // The model is compared again when its reading changed, and not even looked at when that did not.
        IncrementalStepRunReason model =
            reading == IncrementalStepRunReason.Modified
                ? IncrementalStepRunReason.Unchanged
                : IncrementalStepRunReason.Cached;
        Assert.Equal([model, IncrementalStepRunReason.Cached], Reasons(driver, Steps.Specs));
        AssertCached(Reasons(driver, Steps.Layouts, Steps.Sources));
        AssertCached(OutputReasons(driver));
    }

    [Fact]
    public void A_changed_field_modifies_its_protocol_only()
    {
        GeneratorDriver driver = Edit(
            "<member name=\"flag\" type=\"uint8_t\">",
            "<member name=\"flags\" type=\"uint8_t\">"
        );

        Assert.Equal(
            [IncrementalStepRunReason.Modified, IncrementalStepRunReason.Cached],
            Reasons(driver, Steps.Specs)
        );
        Assert.Equal(
            [IncrementalStepRunReason.Modified, IncrementalStepRunReason.Cached],
            Reasons(driver, Steps.Layouts)
        );
        foreach ((string hintName, IncrementalStepRunReason reason) in Sources(driver))
        {
            if (hintName.StartsWith("GrantTable.", StringComparison.Ordinal))
                Assert.Equal(IncrementalStepRunReason.Cached, reason);
        }
        // Within the protocol, only the files that show the field are new.
        Assert.Equal(
            [
                "Blkif.Abi.Native.g.cs",
                "Blkif.Abi.X86_32.g.cs",
                "Blkif.Abi.X86_64.g.cs",
                "Blkif.Fingerprint.g.cs",
                "Blkif.Ring.Messages.g.cs",
                "Blkif.Ring.Native.g.cs",
                "Blkif.Ring.X86_32.g.cs",
                "Blkif.Ring.X86_64.g.cs",
            ],
            Sources(driver)
                .Where(s => s.Reason == IncrementalStepRunReason.Modified)
                .Select(s => s.HintName)
                .Order(StringComparer.Ordinal)
        );
    }

    [Fact]
    public void A_mistake_and_its_correction_leave_the_other_protocol_cached()
    {
        GeneratorDriver broken = Edit("type=\"blkif_vdev_t\"", "type=\"blkif_vdev\"");
        Assert.All(
            GeneratorKit.Result(broken).GeneratedSources,
            s => Assert.StartsWith("GrantTable.", s.HintName, StringComparison.Ordinal)
        );
        Assert.Equal(
            [IncrementalStepRunReason.Cached],
            Sources(broken)
                .Where(s => s.HintName.StartsWith("GrantTable.", StringComparison.Ordinal))
                .Select(s => s.Reason)
                .Distinct()
        );

        GeneratorDriver corrected = broken
            .ReplaceAdditionalText(_edited!, _blkif)
            .RunGenerators(_compilation, TestContext.Current.CancellationToken);
        Assert.Equal(
            GeneratorKit.Result(_driver).GeneratedSources.Select(s => s.HintName),
            GeneratorKit.Result(corrected).GeneratedSources.Select(s => s.HintName)
        );
    }

    [Fact]
    public void A_mistake_is_found_once_and_not_again_at_an_edit_of_CSharp()
    {
        GeneratorDriver broken = Edit("type=\"blkif_vdev_t\"", "type=\"blkif_vdev\"");
        Assert.Contains(IncrementalStepRunReason.New, Reasons(broken, Steps.Problems));

        GeneratorDriver again = broken.RunGenerators(
            _compilation.AddSyntaxTrees(
                CSharpSyntaxTree.ParseText("class After;", cancellationToken: TestContext.Current.CancellationToken)
            ),
            TestContext.Current.CancellationToken
        );

        AssertCached(Reasons(again, Steps.Files, Steps.Readings, Steps.Problems));
        AssertCached(OutputReasons(again));
        Assert.Equal(GeneratorKit.Result(broken).Diagnostics.Length, GeneratorKit.Result(again).Diagnostics.Length);
    }

    [Fact]
    public void A_protocol_in_two_files_is_found_once_and_not_again_at_an_edit_of_CSharp()
    {
        GeneratorDriver twice = GeneratorKit
            .Driver(_blkif, new SpecFile("copy.xml", _blkif.GetText(TestContext.Current.CancellationToken).ToString()))
            .RunGenerators(_compilation, TestContext.Current.CancellationToken);
        Assert.Equal([IncrementalStepRunReason.New], Reasons(twice, Steps.Repeated));

        GeneratorDriver again = twice.RunGenerators(
            _compilation.AddSyntaxTrees(
                CSharpSyntaxTree.ParseText("class After;", cancellationToken: TestContext.Current.CancellationToken)
            ),
            TestContext.Current.CancellationToken
        );

        AssertCached(Reasons(again, Steps.Repeated));
        Assert.Single(GeneratorKit.Result(again).Diagnostics, d => d.Id == "BLKABI028");
    }

    private GeneratorDriver Edit(string old, string edited)
    {
        string text = _blkif.GetText(TestContext.Current.CancellationToken).ToString();
        Assert.Contains(old, text, StringComparison.Ordinal);
        _edited = new SpecFile("blkif.xml", text.Replace(old, edited, StringComparison.Ordinal));
        return _driver
            .ReplaceAdditionalText(_blkif, _edited)
            .RunGenerators(_compilation, TestContext.Current.CancellationToken);
    }

    private static void AssertAllCached(GeneratorDriver driver)
    {
        AssertCached(
            Reasons(driver, Steps.Files, Steps.Readings, Steps.Owners, Steps.Specs, Steps.Layouts, Steps.Sources)
        );
        AssertCached(OutputReasons(driver));
    }

    private static void AssertCached(IncrementalStepRunReason[] reasons)
    {
        Assert.NotEmpty(reasons);
        Assert.All(reasons, reason => Assert.Equal(IncrementalStepRunReason.Cached, reason));
    }

    private static IncrementalStepRunReason[] Reasons(GeneratorDriver driver, params string[] steps) =>
        [
            .. steps
                .SelectMany(step => GeneratorKit.Result(driver).TrackedSteps[step])
                .SelectMany(s => s.Outputs)
                .Select(o => o.Reason),
        ];

    private static IncrementalStepRunReason[] OutputReasons(GeneratorDriver driver) =>
        [
            .. GeneratorKit
                .Result(driver)
                .TrackedOutputSteps.Values.SelectMany(s => s)
                .SelectMany(s => s.Outputs)
                .Select(o => o.Reason),
        ];

    private static (string HintName, IncrementalStepRunReason Reason)[] Sources(GeneratorDriver driver) =>
        [
            .. GeneratorKit
                .Result(driver)
                .TrackedSteps[Steps.Sources]
                .SelectMany(s => s.Outputs)
                .Select(o => (((Emit.GeneratedFile)o.Value).HintName, o.Reason)),
        ];
}
