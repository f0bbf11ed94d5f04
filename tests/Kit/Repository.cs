namespace Blkring.Tests.Kit;

/// <summary>The source tree that the tests run from.</summary>
public static class Repository
{
    private static readonly Lazy<string[]> s_files = new(ListFiles);

    public static string Root { get; } = FindRoot();

    /// <summary>The tracked files, and the new ones that are not ignored, as paths from the root.</summary>
    public static IReadOnlyList<string> Files => s_files.Value;

    /// <summary>The full path of a file given from the root.</summary>
    public static string PathOf(string relative) => Path.Combine(Root, relative);

    public static string Read(string relative) => File.ReadAllText(PathOf(relative));

    private static string FindRoot()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, "Engine.sln")))
                return folder.FullName;
        throw new InvalidOperationException(
            $"no Engine.sln above {AppContext.BaseDirectory}: run the tests inside the repository"
        );
    }

    private static string[] ListFiles()
    {
        // A new file that is not ignored is about to be tracked.
        string output = Programs.Output(
            "git",
            ["-C", Root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        );
        // git still lists a file whose deletion is not committed.
        return
        [
            .. output
                .Split('\0', StringSplitOptions.RemoveEmptyEntries)
                .Distinct()
                .Where(file => File.Exists(PathOf(file))),
        ];
    }
}
