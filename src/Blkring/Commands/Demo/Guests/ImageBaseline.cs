using Blkring.Engine.Disks;
using Blkring.Interop;
using Microsoft.Win32.SafeHandles;

namespace Blkring.Commands.Demo;

/// <summary>
/// What the sectors of a named image hold that the workload has not written: read from the image through a descriptor
/// of its own, past everything that is under test.
/// </summary>
/// <remarks>The block kept stays right: only sectors that nobody writes are ever asked for.</remarks>
internal sealed class ImageBaseline(string path) : IDisposable
{
    private const int BlockBytes = 16 * 1024;

    // By the system call: File would take a lock of its own, whatever it may share, and the image is locked by the
    // disk.
    private readonly SafeFileHandle _file = new(
        Libc.Open(path, Libc.O_RDONLY) is >= 0 and int fd ? fd : throw new IOException($"{path} cannot be read"),
        ownsHandle: true
    );
    private readonly byte[] _block = new byte[BlockBytes];
    private long _blockStart = -1;
    private int _blockLength;

    /// <summary>
    /// For <see cref="Loopback.SectorModel.Baseline"/>: false when the image does not hold the sector any more.
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
