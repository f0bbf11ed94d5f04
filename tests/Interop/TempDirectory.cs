using static Blkring.Interop.Libc;

namespace Blkring.Interop.Tests;

/// <summary>A directory of its own, removed with what is in it.</summary>
sealed class TempDirectory : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("blkring-interop-").FullName;

    /// <summary>A new file of zeros, open for reading and writing.</summary>
    public FileDescriptor CreateFile(long lengthBytes)
    {
        var fd = Open(System.IO.Path.Combine(Path, Guid.NewGuid().ToString()), O_RDWR | O_CREAT | O_EXCL, mode: 0x180);
        Assert.True(fd >= 0, Errno.Describe(fd));
        var file = new FileDescriptor(fd);
        Assert.Equal(0, Ftruncate(fd, lengthBytes));
        return file;
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
