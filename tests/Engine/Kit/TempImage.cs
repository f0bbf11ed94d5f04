using Blkring.Engine.Disks;

namespace Blkring.Engine.Tests.Kit;

/// <summary>A folder of its own with a raw image in it, both gone afterwards.</summary>
internal sealed class TempImage : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("blkring-test-");

    public TempImage(long sectors)
    {
        Path = PathOf("disk.img");
        using FileStream file = File.Create(Path);
        file.SetLength(sectors * Disk.SectorBytes);
    }

    public string Path { get; }
    public string Folder => _folder.FullName;

    public string PathOf(string name) => System.IO.Path.Combine(_folder.FullName, name);

    public FileDisk Open(bool writable = true, CacheMode cache = CacheMode.None) =>
        FileDisk.Open(Path, new FileDiskOptions { Writable = writable, Cache = cache });

    public void Dispose() => _folder.Delete(recursive: true);
}
