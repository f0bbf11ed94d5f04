using System.Reflection;
using System.Xml.Linq;

namespace Blkring.Architecture.Tests;

/// <summary>A project under src/: where its files are, and the namespace and assembly that it makes of them.</summary>
internal sealed record SourceProject(string Folder, string RootNamespace, string AssemblyName);

/// <summary>The tree that these tests were built from.</summary>
internal static class Repository
{
    public static string Root { get; } =
        typeof(Repository)
            .Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
            .Single(attribute => attribute.Key == "RepositoryRoot")
            .Value!;

    public static IReadOnlyList<SourceProject> Projects { get; } =
    [.. Directory.GetFiles(PathOf("src"), "*.csproj", SearchOption.AllDirectories).Order().Select(ReadProject)];

    public static string PathOf(string relative) => Path.Combine(Root, relative);

    /// <summary>The C# files below a folder, without what a build puts there.</summary>
    public static IEnumerable<string> SourceFiles(string folder) =>
        Directory
            .EnumerateFiles(PathOf(folder), "*.cs", SearchOption.AllDirectories)
            .Select(file => Path.GetRelativePath(Root, file))
            .Where(file => !file.Split('/').Any(part => part is "obj" or "bin"))
            .Order(StringComparer.Ordinal);

    private static SourceProject ReadProject(string file)
    {
        XDocument project = XDocument.Load(file);
        string name = Path.GetFileNameWithoutExtension(file);
        string rootNamespace = project.Descendants("RootNamespace").FirstOrDefault()?.Value ?? name;
        return new SourceProject(
            Path.GetRelativePath(Root, Path.GetDirectoryName(file)!),
            rootNamespace,
            project.Descendants("AssemblyName").FirstOrDefault()?.Value ?? name
        );
    }
}
