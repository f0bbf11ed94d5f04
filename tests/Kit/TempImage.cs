using Blkring.Engine.Disks;

namespace Blkring.Tests.Kit;

/// <summary>A raw image of zeros in a directory of its own.</summary>
public sealed class TempImage : IDisposable
{
    private readonly TempDirectory _directory = new();

    public TempImage(long sectors)
    {
        Path = PathOf("disk.img");
        using FileStream file = File.Create(Path);
        file.SetLength(sectors * Disk.SectorBytes);
    }

    public string Path { get; }
    public string Folder => _directory.Path;

    public string PathOf(string name) => _directory.PathOf(name);

    public FileDisk Open(bool writable = true, CacheMode cache = CacheMode.None) =>
        FileDisk.Open(Path, new FileDiskOptions { Writable = writable, Cache = cache });

    public void Dispose() => _directory.Dispose();
}
