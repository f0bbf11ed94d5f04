using System.Diagnostics;

namespace Blkring.Integration.Tests;

/// <summary>The tree that the tests were built from, found from where they run.</summary>
internal static class Repository
{
    public static string Root { get; } = FindRoot();

    /// <summary>Release or Debug, as the tests themselves were built.</summary>
    private static string Configuration { get; } = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name;

    public static string Executable { get; } =
        Path.Combine(Root, "src", "Blkring", "bin", Configuration, "net10.0", "blkring");

    /// <summary>Paths of the tracked files, from the root.</summary>
    public static IReadOnlyList<string> TrackedFiles { get; } = ListTrackedFiles();

    public static string Read(string file) => File.ReadAllText(Path.Combine(Root, file));

    private static string FindRoot()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, "Engine.sln")))
                return folder.FullName;
        throw new InvalidOperationException("the tests do not run from within the repository");
    }

    private static string[] ListTrackedFiles()
    {
        // Files that are new but not ignored count, too: they are about to be tracked.
        ProcessStartInfo start = new(
            "git",
            ["-C", Root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        )
        {
            RedirectStandardOutput = true,
        };
        using Process git = Process.Start(start)!;
        string[] files = git.StandardOutput.ReadToEnd().Split('\0', StringSplitOptions.RemoveEmptyEntries);
        git.WaitForExit();
        return git.ExitCode == 0
            ? [.. files.Distinct().Where(file => File.Exists(Path.Combine(Root, file)))]
            : throw new InvalidOperationException("git ls-files failed");
    }
}
