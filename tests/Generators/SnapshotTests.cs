using System.Text;
using Blkring.Tests.Kit;
using Microsoft.CodeAnalysis;

namespace Blkring.Generators.Tests;

/// <summary>
/// The generated code of every spec of abi/, checked in: a change of a header, a spec or an emitter shows as a diff of
/// C# for review.
/// </summary>
public sealed class SnapshotTests
{
    /// <summary>Set to 1, it makes these tests write the snapshots instead of comparing them.</summary>
    private const string AcceptVariable = "BLKRING_ACCEPT_SNAPSHOTS";

    private const string Advice =
        $"review the change, then accept it with: {AcceptVariable}=1 dotnet test tests/Generators -c Release";

    private static readonly bool Accepts = Environment.GetEnvironmentVariable(AcceptVariable) == "1";

    public static TheoryData<string> Specs() =>
        [
            .. Directory
                .GetFiles(Path.Combine(AppContext.BaseDirectory, "abi"), "*.xml")
                .Select(path => Path.GetFileName(path))
                .Order(StringComparer.Ordinal),
        ];

    [Theory]
    [MemberData(nameof(Specs))]
    public void The_generated_code_is_that_of_the_snapshot(string spec)
    {
        GeneratorRunResult result = GeneratorKit.Run(SpecFile.OfTheProject(spec));
        Dictionary<string, string> generated = result.GeneratedSources.ToDictionary(
            source => source.HintName + ".txt",
            source => source.SourceText.ToString()
        );
        string protocol = result.GeneratedSources[0].HintName.Split('.')[0];
        string[] kept = [.. Directory.GetFiles(Snapshots, $"{protocol}.*.txt").Select(path => Path.GetFileName(path))];

        if (Accepts)
        {
            foreach (string stale in kept.Except(generated.Keys))
                File.Delete(Path.Combine(Snapshots, stale));
            foreach ((string name, string text) in generated)
                File.WriteAllText(Path.Combine(Snapshots, name), text);
            return;
        }
        Assert.True(
            kept.ToHashSet().SetEquals(generated.Keys),
            $"{spec} generates {string.Join(", ", generated.Keys.Order())}, "
                + $"but the snapshots are {string.Join(", ", kept.Order())}: {Advice}"
        );
        foreach ((string name, string text) in generated)
        {
            byte[] snapshot = File.ReadAllBytes(Path.Combine(Snapshots, name));
            if (!snapshot.AsSpan().SequenceEqual(Encoding.UTF8.GetBytes(text)))
                Assert.Fail($"{name} differs {FirstDifference(Encoding.UTF8.GetString(snapshot), text)}\n{Advice}");
        }
    }

    [Fact]
    public void No_snapshot_is_without_a_spec()
    {
        HashSet<string> protocols =
        [
            .. Specs()
                .Select(spec => GeneratorKit.Run(SpecFile.OfTheProject(spec.Data)).GeneratedSources[0].HintName)
                .Select(name => name.Split('.')[0]),
        ];

        Assert.All(
            Directory.GetFiles(Snapshots).Select(path => Path.GetFileName(path)),
            name => Assert.Contains(name.Split('.')[0], protocols)
        );
    }

    private static string FirstDifference(string snapshot, string generated)
    {
        string[] was = snapshot.Split('\n');
        string[] isNow = generated.Split('\n');
        int line = 0;
        while (line < was.Length && line < isNow.Length && was[line] == isNow[line])
            line++;
        return $"at line {line + 1}:\n- {LineOf(was, line)}\n+ {LineOf(isNow, line)}";

        static string LineOf(string[] lines, int index) => index < lines.Length ? lines[index] : "(end of file)";
    }

    private static string Snapshots { get; } = Repository.PathOf("tests/Generators/Snapshots");
}
