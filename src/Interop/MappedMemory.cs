namespace Blkring.Interop;

/// <summary>
/// One mmap(2) with an owner. There is no finalizer on purpose: the address is handed to the kernel and to other
/// threads as a raw pointer, and a mapping that outlives a forgotten owner is a leak, while one that vanishes under a
/// pointer is corruption.
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

    /// <summary>As asked for, not rounded to pages.</summary>
    public nuint LengthBytes { get; }

    /// <summary>Private zeroed memory.</summary>
    /// <param name="lengthBytes">More than 0.</param>
    /// <param name="populate">True takes the page faults now rather than on the data path.</param>
    /// <exception cref="IOException">mmap refused: ENOMEM.</exception>
    public static MappedMemory Anonymous(nuint lengthBytes, bool populate = false) =>
        Map(
            lengthBytes,
            Libc.PROT_READ | Libc.PROT_WRITE,
            Libc.MAP_PRIVATE | Libc.MAP_ANONYMOUS | (populate ? Libc.MAP_POPULATE : 0),
            fd: -1,
            offset: 0
        );

    /// <summary>Part of a file, a memfd or a device. The descriptor may be closed afterwards.</summary>
    /// <param name="fd">Open for reading, and for writing when writable and shared.</param>
    /// <param name="offset">In bytes, a multiple of the page.</param>
    /// <param name="lengthBytes">More than 0; touching pages past the end of the file raises SIGBUS.</param>
    /// <param name="writable">False maps read-only.</param>
    /// <param name="shared">True: stores reach the file and other mappings; false: they stay private.</param>
    /// <exception cref="IOException">mmap refused: EACCES, EINVAL, ENODEV, ENOMEM.</exception>
    public static MappedMemory FromFile(int fd, long offset, nuint lengthBytes, bool writable, bool shared) =>
        Map(
            lengthBytes,
            writable ? Libc.PROT_READ | Libc.PROT_WRITE : Libc.PROT_READ,
            shared ? Libc.MAP_SHARED : Libc.MAP_PRIVATE,
            fd,
            offset
        );

    /// <summary>Unmaps, once. Nobody may hold the address any more: neither a thread nor a request in flight.</summary>
    public void Dispose()
    {
        // Of two threads that dispose at once only one may unmap: the second call could hit a mapping made in between.
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
