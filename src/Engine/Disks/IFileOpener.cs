using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>Opens what the path of an image names: by this process itself, or by one with more privileges.</summary>
public interface IFileOpener
{
    /// <summary>open(2), without a mode: nothing is created. It may take as long as the storage does.</summary>
    /// <param name="flags">O_*</param>
    /// <param name="file">Owned by the caller; null after an error.</param>
    /// <returns>0, or a positive errno.</returns>
    /// <exception cref="ImageException">The opener does not answer, or does not open this path.</exception>
    int TryOpen(string path, int flags, out FileDescriptor? file);
}

/// <summary>Opens with the privileges of this process.</summary>
public sealed class OwnOpener : IFileOpener
{
    public static OwnOpener Instance { get; } = new();

    public int TryOpen(string path, int flags, out FileDescriptor? file)
    {
        int fd = Libc.Open(path, flags);
        file = fd < 0 ? null : new FileDescriptor(fd);
        return fd < 0 ? -fd : 0;
    }
}
