namespace Blkring.Commands;

/// <summary>
/// A folder that only this user can enter, gone when it is disposed of or the process is interrupted.
/// </summary>
internal sealed class TemporaryFolder : IDisposable
{
    private readonly DirectoryInfo _folder;

    /// <exception cref="UsageException">It cannot be made.</exception>
    public TemporaryFolder(Interruption interruption)
    {
        try
        {
            _folder = Directory.CreateTempSubdirectory("blkring-");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException(
                $"no folder can be made in {Path.GetTempPath()} ({e.Message}): make room there, or set TMPDIR to another folder"
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
            // Removed already.
        }
    }
}
