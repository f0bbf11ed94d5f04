using System.Text.RegularExpressions;

namespace Blkring.Generators.Tests;

/// <summary>The generator's steps in their order: each uses only what comes before it.</summary>
public sealed partial class ArrowTests
{
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["Model"] = [],
        ["Diagnostics"] = ["Model"],
        ["Parsing"] = ["Model", "Diagnostics"],
        ["Layout"] = ["Model", "Diagnostics"],
        ["Emit"] = ["Model", "Layout"],
    };

    public static TheoryData<string> Folders() => [.. Allowed.Keys];

    [Theory]
    [MemberData(nameof(Folders))]
    public void A_step_uses_only_those_before_it(string folder)
    {
        string[] files = Directory.GetFiles(Path.Combine(Sources, folder), "*.cs");
        IEnumerable<string> used = files
            .SelectMany(file => NamespaceOfOurs().Matches(File.ReadAllText(file)))
            .Select(match => match.Groups[1].Value)
            .Where(name => name != folder)
            .Distinct();

        Assert.NotEmpty(files);
        Assert.Empty(used.Except(Allowed[folder]));
    }

    [Fact]
    public void Every_folder_of_the_generator_is_a_step() =>
        Assert.Equal(
            Allowed.Keys.Order(),
            Directory.GetDirectories(Sources).Select(folder => Path.GetFileName(folder)).Order()
        );

    private static string Sources => Path.Combine(AppContext.BaseDirectory, "generator");

    [GeneratedRegex(@"Blkring\.Generators\.(\w+)")]
    private static partial Regex NamespaceOfOurs();
}
