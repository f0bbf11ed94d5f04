namespace Blkring.Commands;

/// <summary>
/// A folder that only this user can enter. It is removed on disposal and when the process is interrupted.
/// </summary>
internal sealed class TemporaryFolder : IDisposable
{
    private readonly DirectoryInfo _folder;

    /// <exception cref="UsageException">The folder cannot be created.</exception>
    public TemporaryFolder(Interruption interruption)
    {
        try
        {
            _folder = Directory.CreateTempSubdirectory("blkring-");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException(
                $"cannot create a folder in {Path.GetTempPath()} ({e.Message}): "
                    + "free some space, or set TMPDIR to another folder"
            );
        }
        interruption.OnEnd(Dispose);
    }

    public string File(string name) => Path.Combine(_folder.FullName, name);

    public void Dispose()
    {
        try
        {
            _folder.Delete(recursive: true);
        }
        catch (DirectoryNotFoundException)
        {
            // Already removed.
        }
    }
}
