namespace Blkring.Interop;

/// <summary>
/// One mmap(2) with an owner. It has no finalizer on purpose: the kernel and other threads have the address as a raw
/// pointer. A mapping that outlives a forgotten owner is a leak; one that vanishes under a pointer is corruption.
/// </summary>
public sealed unsafe class MappedMemory : IDisposable
{
    nint _address;

    MappedMemory(nint address, nuint lengthBytes)
    {
        _address = address;
        LengthBytes = lengthBytes;
    }

    /// <summary>Page-aligned; null once disposed.</summary>
    public byte* Address => (byte*)_address;

    /// <summary>The requested length, not rounded up to pages.</summary>
    public nuint LengthBytes { get; }

    /// <summary>Private zeroed memory.</summary>
    /// <param name="lengthBytes">More than 0.</param>
    /// <param name="populate">Whether to take the page faults now instead of on the data path.</param>
    /// <exception cref="IOException">mmap refused: ENOMEM.</exception>
    public static MappedMemory Anonymous(nuint lengthBytes, bool populate = false) =>
        Map(
            lengthBytes,
            Libc.PROT_READ | Libc.PROT_WRITE,
            Libc.MAP_PRIVATE | Libc.MAP_ANONYMOUS | (populate ? Libc.MAP_POPULATE : 0),
            fd: -1,
            offset: 0
        );

    /// <summary>Maps a part of a file, memfd or device. The descriptor may be closed afterwards.</summary>
    /// <param name="fd">Open for reading, and for writing if the mapping is writable and shared.</param>
    /// <param name="offset">In bytes, a multiple of the page.</param>
    /// <param name="lengthBytes">More than 0; touching pages past the end of the file raises SIGBUS.</param>
    /// <param name="writable">False maps read-only.</param>
    /// <param name="shared">Whether stores reach the file and other mappings; otherwise they are private.</param>
    /// <exception cref="IOException">mmap refused: EACCES, EINVAL, ENODEV, ENOMEM.</exception>
    public static MappedMemory FromFile(int fd, long offset, nuint lengthBytes, bool writable, bool shared) =>
        Map(
            lengthBytes,
            writable ? Libc.PROT_READ | Libc.PROT_WRITE : Libc.PROT_READ,
            shared ? Libc.MAP_SHARED : Libc.MAP_PRIVATE,
            fd,
            offset
        );

    /// <summary>Unmaps, once. No thread and no request in flight may use the address any more.</summary>
    public void Dispose()
    {
        // If two threads dispose at once, only one may unmap: the other could hit a mapping made in between.
        var address = Interlocked.Exchange(ref _address, 0);
        if (address != 0)
            Libc.Munmap((void*)address, LengthBytes);
    }

    static MappedMemory Map(nuint lengthBytes, int protection, int flags, int fd, long offset)
    {
        var address = Libc.Mmap(0, lengthBytes, protection, flags, fd, offset);
        return address < 0
            ? throw Errno.ToException($"mmap of {lengthBytes} bytes", (int)address)
            : new MappedMemory(address, lengthBytes);
    }
}
