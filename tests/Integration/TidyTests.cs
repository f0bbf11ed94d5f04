using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Blkring.Integration.Tests;

/// <summary>The rules of the tree that no compiler checks.</summary>
public sealed class TidyTests
{
    /// <summary>Built by a property of its own: its package is not in every registry.</summary>
    private const string ProjectOutsideTheSolution = "tests/Layouts.Inspector/Layouts.Inspector.csproj";

    private const int MaxLineLength = 120;

    // Split, so that this file does not break its own rules.
    private static readonly string[] s_foldersOfOneMachine = ["/ho" + "me/", "/ro" + "ot/", "/wo" + "rk/"];
    private static readonly string[] s_unfinished = ["TO" + "DO", "FIX" + "ME", "NotImplemented" + "Exception"];

    private static IEnumerable<string> TextFiles =>
        Repository.Files.Where(file => Path.GetExtension(file) is not (".png" or ".gz" or ".bin"));

    private static IEnumerable<string> Projects =>
        Repository.Files.Where(file => file.EndsWith(".csproj", StringComparison.Ordinal));

    [Fact]
    public void No_file_names_a_folder_of_one_machine() =>
        AssertNone(
            from file in TextFiles
            let text = Repository.Read(file)
            from folder in s_foldersOfOneMachine
            where Regex.IsMatch(text, $@"(?<![\w.*\]\)}}-]){folder}\w")
            select $"{file}: {folder}"
        );

    [Fact]
    public void Nothing_is_left_unfinished() =>
        AssertNone(
            from file in TextFiles
            let text = Repository.Read(file)
            from word in s_unfinished
            where Regex.IsMatch(text, $@"\b{word}\b")
            select $"{file}: {word}"
        );

    [Fact]
    public void No_line_of_code_is_longer_than_120_characters()
    {
        Assert.Equal([2], LongLines($"{new string('é', 120)}\n{new string('x', 121)}\n"));
        Assert.True(IsShell("test", "#!/bin/bash") && IsShell("a.sh", "") && !IsShell("a.py", "#!/usr/bin/python3"));

        AssertNone(
            from file in TextFiles
            let text = Repository.Read(file)
            where file.EndsWith(".cs", StringComparison.Ordinal) || IsShell(file, text)
            from line in LongLines(text)
            select $"{file}:{line}"
        );
    }

    /// <summary>After 2^31 steps such a counter is negative, and so is the remainder.</summary>
    [Fact]
    public void No_index_is_the_remainder_of_a_counter_that_wraps() =>
        AssertNone(
            from file in TextFiles
            where file.StartsWith("src/", StringComparison.Ordinal) && file.EndsWith(".cs", StringComparison.Ordinal)
            from Match step in Regex.Matches(Repository.Read(file), @"\w(\+\+|--) % ")
            select $"{file}: {step.Value}"
        );

    [Fact]
    public void Every_project_is_in_the_solution()
    {
        string solution = Repository.Read("Engine.sln").Replace('\\', '/');
        string[] expected =
        [
            .. Projects.Where(project => project != ProjectOutsideTheSolution).Where(InAFolderOfProjects),
        ];

        Assert.True(expected.Length > 5, "the projects are not where they should be");
        AssertNone(expected.Where(project => !solution.Contains($"\"{project}\"", StringComparison.Ordinal)));

        static bool InAFolderOfProjects(string project) => project.Split('/')[0] is "src" or "bench" or "tests";
    }

    [Fact]
    public void Every_package_version_is_central() =>
        AssertNone(
            from project in Projects
            from reference in XDocument.Parse(Repository.Read(project)).Descendants("PackageReference")
            where
                reference.Attribute("Version") is not null
                || reference.Attribute("VersionOverride") is not null
                || reference.Element("Version") is not null
            select $"{project}: {reference.Attribute("Include")?.Value}"
        );

    [Fact]
    public void The_commands_of_the_readme_exist()
    {
        string readme = Repository.Read("README.md");
        Match run = Regex.Match(readme, @"^dotnet run -c Release --project (\S+) -- demo$", RegexOptions.Multiline);

        Assert.True(run.Success, "the README does not say how to run the demo");
        Assert.Single(Directory.GetFiles(Path.Combine(Repository.Root, run.Groups[1].Value), "*.csproj"));
        Assert.Matches(@"(?m)^\./test$", readme);
        Assert.True(
            File.GetUnixFileMode(Repository.PathOf("test")).HasFlag(UnixFileMode.UserExecute),
            "./test cannot be executed"
        );
        Assert.True(
            File.GetUnixFileMode(Repository.PathOf(".ci/run")).HasFlag(UnixFileMode.UserExecute),
            ".ci/run cannot be executed"
        );
    }

    [Fact]
    public void Links_between_documents_resolve() =>
        AssertNone(
            from file in Repository.Files
            where file.EndsWith(".md", StringComparison.Ordinal)
            from Match link in Regex.Matches(Repository.Read(file), @"\]\((?!https?:|mailto:|#)([^)#\s]+)[^)]*\)")
            let target = Path.Combine(Repository.Root, Path.GetDirectoryName(file)!, link.Groups[1].Value)
            where !File.Exists(target) && !Directory.Exists(target)
            select $"{file}: {link.Groups[1].Value}"
        );

    [Fact]
    public void Every_option_of_the_demo_is_in_its_document()
    {
        using TempDirectory folder = new();
        using BlkringProcess help = BlkringProcess.Run(folder.Path, "demo", "--help");
        string document = Repository.Read("docs/demo.md");
        string[] options =
        [
            .. Regex.Matches(help.Output, @"(?m)^  (--[a-z-]+)").Select(match => match.Groups[1].Value),
        ];

        Assert.True(options.Length > 8);
        AssertNone(options.Where(option => !document.Contains($"`{option}", StringComparison.Ordinal)));
    }

    private static bool IsShell(string file, string text) =>
        file.EndsWith(".sh", StringComparison.Ordinal) || Regex.IsMatch(text, @"\A#!\S*/(ba|da)?sh\b");

    /// <summary>The numbers of the lines that are too long. Characters count, not bytes.</summary>
    private static IEnumerable<int> LongLines(string text) =>
        text.Split('\n')
            .Index()
            .Where(line => line.Item.EnumerateRunes().Count() > MaxLineLength)
            .Select(line => line.Index + 1);

    private static void AssertNone(IEnumerable<string> offences) => Assert.Equal("", string.Join('\n', offences));
}
