using Blkring.Engine.Disks;
using Blkring.Interop;
using Microsoft.Win32.SafeHandles;

namespace Blkring.Commands.Demo.Guests;

/// <summary>
/// The sectors of a named image that the workload has not written, read through a separate descriptor that bypasses
/// everything under test.
/// </summary>
/// <remarks>The cached block cannot become stale: only sectors that are never written are read from it.</remarks>
internal sealed class ImageBaseline(string path) : IDisposable
{
    private const int BlockBytes = 16 * 1024;

    // By the system call, because File takes a lock in every sharing mode, and the disk has locked the image.
    private readonly SafeFileHandle _file = new(
        Libc.Open(path, Libc.O_RDONLY) is >= 0 and int fd ? fd : throw new IOException($"{path} cannot be read"),
        ownsHandle: true
    );
    private readonly byte[] _block = new byte[BlockBytes];
    private long _blockStart = -1;
    private int _blockLength;

    /// <summary>
    /// For <see cref="Loopback.SectorModel.Baseline"/>. False if the image no longer has the sector.
    /// </summary>
    public bool TryRead(long sector, byte[] content)
    {
        long offset = sector << Disk.SectorShift;
        long start = offset & ~(BlockBytes - 1L);
        if (start != _blockStart)
        {
            _blockLength = RandomAccess.Read(_file, _block, start);
            _blockStart = start;
        }
        int at = (int)(offset - start);
        if (at + Disk.SectorBytes > _blockLength)
            return false;
        _block.AsSpan(at, Disk.SectorBytes).CopyTo(content);
        return true;
    }

    public void Dispose() => _file.Dispose();
}
