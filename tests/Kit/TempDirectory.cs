namespace Blkring.Tests.Kit;

/// <summary>A directory for one test, deleted with everything in it.</summary>
public sealed class TempDirectory : IDisposable
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("blkring-test-");

    public string Path => _directory.FullName;

    public string PathOf(string name) => System.IO.Path.Combine(Path, name);

    /// <summary>Writes a file and returns its path.</summary>
    public string Write(string name, string text)
    {
        File.WriteAllText(PathOf(name), text);
        return PathOf(name);
    }

    /// <summary>Writes a file of random bytes, the same ones each time, and returns its path.</summary>
    public string WriteImage(string name, int lengthBytes)
    {
        byte[] content = new byte[lengthBytes];
        new Random(7).NextBytes(content);
        File.WriteAllBytes(PathOf(name), content);
        return PathOf(name);
    }

    public void Dispose() => _directory.Delete(recursive: true);
}
