using Blkring.Engine.Queues;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// The files of the control plane itself: device nodes that it looks for, and its folder of journals.
/// </summary>
internal interface IControlFiles
{
    bool Exists(string path);

    /// <summary>Creates the folder, accessible to this user only; an existing folder is not changed.</summary>
    /// <exception cref="IOException">It cannot be created.</exception>
    void CreatePrivateFolder(string path);

    /// <summary>The paths of the files in the folder whose names begin with the prefix.</summary>
    IEnumerable<string> Find(string folder, string namePrefix);

    void Delete(string path);

    /// <returns>Null if there is no such file.</returns>
    /// <exception cref="IOException">It cannot be read.</exception>
    string? TryRead(string path);

    /// <summary>Writes a file whole: whoever is killed meanwhile leaves the old content or the new.</summary>
    /// <exception cref="IOException">It cannot be written; the old content stays.</exception>
    void Replace(string path, string content);
}

internal sealed class HostFiles : IControlFiles
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    public bool Exists(string path) => File.Exists(path);

    public void CreatePrivateFolder(string path)
    {
        if (OperatingSystem.IsLinux())
            Directory.CreateDirectory(path, OwnerOnly);
    }

    public IEnumerable<string> Find(string folder, string namePrefix) =>
        Directory.EnumerateFiles(folder, namePrefix + "*");

    public void Delete(string path) => File.Delete(path);

    public string? TryRead(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (FileNotFoundException)
        {
            return null;
        }
    }

    public void Replace(string path, string content)
    {
        string replacement = path + RingJournal.ReplacementSuffix;
        File.WriteAllText(replacement, content);
        File.Move(replacement, path, overwrite: true);
    }
}
