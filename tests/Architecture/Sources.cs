using System.Xml.Linq;

namespace Blkring.Architecture.Tests;

/// <summary>A project under src/: where its files are, and the namespace and assembly that it makes of them.</summary>
internal sealed record SourceProject(string Folder, string RootNamespace, string AssemblyName);

/// <summary>The C# of the tree, and the projects that are built of it.</summary>
internal static class Sources
{
    public static IReadOnlyList<SourceProject> Projects { get; } =
    [
        .. Repository
            .Files.Where(file => file.StartsWith("src/", StringComparison.Ordinal))
            .Where(file => file.EndsWith(".csproj", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)
            .Select(ReadProject),
    ];

    /// <summary>The C# files below a folder.</summary>
    public static IEnumerable<string> FilesOf(string folder) =>
        Repository
            .Files.Where(file => file.StartsWith(folder + "/", StringComparison.Ordinal))
            .Where(file => file.EndsWith(".cs", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal);

    private static SourceProject ReadProject(string file)
    {
        XDocument project = XDocument.Parse(Repository.Read(file));
        string name = Path.GetFileNameWithoutExtension(file);
        return new SourceProject(
            Path.GetDirectoryName(file)!,
            project.Descendants("RootNamespace").FirstOrDefault()?.Value ?? name,
            project.Descendants("AssemblyName").FirstOrDefault()?.Value ?? name
        );
    }
}
