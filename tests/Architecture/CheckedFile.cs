namespace Blkring.Architecture.Tests;

/// <summary>A file of the tree that is written from the code: compared by a test, or written anew on request.</summary>
internal static class CheckedFile
{
    private const string WriteVariable = "BLKRING_WRITE";

    /// <param name="path">The file, from the root of the tree.</param>
    /// <param name="expected">What it must contain.</param>
    public static void Check(string path, string expected)
    {
        string file = Repository.PathOf(path);
        if (Environment.GetEnvironmentVariable(WriteVariable) == "1")
            File.WriteAllText(file, expected);
        string actual = File.Exists(file) ? File.ReadAllText(file) : "";
        Assert.True(
            actual == expected,
            $"{path} is stale; write it anew with: "
                + $"{WriteVariable}=1 dotnet test tests/Architecture -c Release\n{FirstDifference(expected, actual)}"
        );
    }

    private static string FirstDifference(string expected, string actual)
    {
        string[] wanted = expected.Split('\n'),
            found = actual.Split('\n');
        int line = 0;
        while (line < wanted.Length && line < found.Length && wanted[line] == found[line])
            line++;
        return $"line {line + 1}: expected '{wanted.ElementAtOrDefault(line)}', "
            + $"found '{found.ElementAtOrDefault(line)}'";
    }
}
