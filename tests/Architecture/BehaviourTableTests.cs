namespace Blkring.Architecture.Tests;

/// <summary>docs/behaviour.md says nothing that is not there.</summary>
public sealed class BehaviourTableTests
{
    private const string Document = "docs/behaviour.md";
    private const int Facts = 23;
    private const int MaxLineLength = 120;

    private readonly ProofDocument _document = new(Document);

    [Fact]
    public void The_facts_are_those_of_the_reference_in_order() =>
        Assert.Equal(
            Enumerable.Range(1, Facts).Select(number => $"B{number}"),
            _document.Sections.Select(section => section.Number)
        );

    [Fact]
    public void Every_fact_says_something_and_has_a_place_and_a_test() =>
        Assert.All(
            _document.Sections,
            section =>
            {
                Assert.True(section.Title.Length + section.Prose.Length > 60, $"{section.Number} says too little");
                Assert.NotEmpty(section.Code);
                Assert.Contains(
                    TestCatalog.Proofs,
                    proof =>
                        proof.Facts.Contains(section.Number)
                        && proof.File.StartsWith("tests/Engine/", StringComparison.Ordinal)
                );
            }
        );

    [Fact]
    public void No_line_is_too_long_to_read() => Assert.InRange(_document.LongestLine, 1, MaxLineLength);

    [Fact]
    public void Every_test_and_every_type_is_linked() =>
        CheckedFile.Check(Document, _document.Written(TestCatalog.Proofs));

    [Fact]
    public void Every_proof_names_a_fact_or_a_feature()
    {
        string[] known =
        [
            .. _document.Sections.Select(section => section.Number),
            .. new ProofDocument(FeaturesTableTests.Document).Sections.Select(section => section.Number),
        ];
        Assert.All(
            TestCatalog.Proofs,
            proof => Assert.All(proof.Facts, fact => Assert.True(known.Contains(fact), $"{proof.Method}: {fact}"))
        );
    }

    [Fact]
    public void Names_that_do_not_exist_would_be_noticed()
    {
        Assert.True(ProofDocument.Types.ContainsKey("VbdQueue") && ProofDocument.Types.ContainsKey("FaultKind"));
        Assert.False(ProofDocument.Types.ContainsKey("NoSuchType"));
    }

    [Fact]
    public void A_proof_that_does_not_run_would_be_noticed()
    {
        const string Class = "class C { [Fact] [Proves(\"B1\")] public void A() { } [Fact] public void B() { } }";
        Proof proof = Assert.Single(TestCatalog.Read("file", Class));
        Assert.Equal(("C", "A", "B1"), (proof.Class, proof.Method, proof.Facts.Single()));
        Assert.ThrowsAny<Exception>(() =>
            TestCatalog.Read("file", Class.Replace("[Fact] [", "[", StringComparison.Ordinal)).ToList()
        );
        Assert.ThrowsAny<Exception>(() =>
            TestCatalog
                .Read("file", Class.Replace("[Fact] [", "[Fact(Skip = \"\")] [", StringComparison.Ordinal))
                .ToList()
        );
    }
}
