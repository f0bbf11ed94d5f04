using System.Runtime.CompilerServices;
using Blkring.Abi;
using Blkring.Interop;

namespace Blkring.Loopback;

/// <summary>
/// A loopback domain's memory: a memfd with the domain's grant table (grant_entry_v1, as in a real guest), followed by
/// its page frames. The guest maps it as its memory; the backend's side maps it to act as the hypervisor.
/// </summary>
/// <remarks>
/// The backend's side trusts nothing in it: it reads each entry once and checks it, it bounds frames and references by
/// the sizes that were agreed on with the descriptor, and the memfd is sealed against shrinking, so that a guest cannot
/// remove pages during a copy.
/// </remarks>
public sealed unsafe class GuestMemory : IDisposable
{
    public const int PageBytes = 4096;

    private readonly MappedMemory _mapping;
    private readonly FileDescriptor _file;

    private GuestMemory(FileDescriptor file, int frames, int grants)
    {
        (_file, Frames, Grants) = (file, frames, grants);
        MapCounts = new int[grants];
        _mapping = MappedMemory.FromFile(file.Value, 0, LengthOf(frames, grants), writable: true, shared: true);
    }

    /// <summary>Makes the memory of a new domain.</summary>
    /// <param name="frames">The number of pages that the guest can use.</param>
    /// <param name="grants">The number of entries of its grant table.</param>
    public static GuestMemory Create(int frames, int grants)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(frames, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(grants, 1);
        int fd = Libc.MemfdCreate("blkring-guest", Libc.MFD_CLOEXEC | Libc.MFD_ALLOW_SEALING);
        if (fd < 0)
            throw new InvalidOperationException("memfd_create: " + Errno.Describe(-fd));
        FileDescriptor file = new(fd);
        int error = Libc.Ftruncate(fd, (long)LengthOf(frames, grants));
        if (error == 0)
            error = Libc.AddSeals(fd, Libc.F_SEAL_SHRINK | Libc.F_SEAL_GROW | Libc.F_SEAL_SEAL);
        if (error < 0)
        {
            file.Dispose();
            throw new InvalidOperationException("guest memory: " + Errno.Describe(-error));
        }
        return new GuestMemory(file, frames, grants);
    }

    /// <summary>Maps memory that another process has made.</summary>
    /// <exception cref="InvalidOperationException">The descriptor is not a sealed memfd of that size.</exception>
    public static GuestMemory Open(FileDescriptor file, int frames, int grants)
    {
        if (frames < 1 || grants < 1)
            throw new InvalidOperationException($"guest memory of {frames} frames and {grants} grants");
        int error = Libc.Fstatx(file.Value, Libc.STATX_SIZE, out statx status);
        int seals = Libc.GetSeals(file.Value);
        if (error < 0 || status.stx_size < LengthOf(frames, grants) || seals < 0 || (seals & Libc.F_SEAL_SHRINK) == 0)
            throw new InvalidOperationException(
                "the guest's memory is not a memfd of the announced size, sealed against shrinking"
            );
        return new GuestMemory(file, frames, grants);
    }

    /// <summary>The memfd, for the other side.</summary>
    public int Descriptor => _file.Value;
    public int Frames { get; }

    /// <summary>The number of entries of the grant table.</summary>
    public int Grants { get; }

    /// <summary>
    /// How often this side has each grant mapped, as the hypervisor counts it: the last unmapping clears the grant's
    /// bits.
    /// </summary>
    internal int[] MapCounts { get; }

    internal GrantTable.GrantEntryV1* Table => (GrantTable.GrantEntryV1*)_mapping.Address;

    /// <summary>One of the guest's pages. The frame must exist.</summary>
    public byte* FrameAt(uint frame) => _mapping.Address + OffsetOf(frame);

    internal byte* FirstFrame => _mapping.Address + TableBytes(Grants);

    /// <summary>The frame's offset in the memfd, in bytes.</summary>
    internal long OffsetOf(uint frame) => (long)TableBytes(Grants) + ((long)frame * PageBytes);

    public void Dispose()
    {
        _mapping.Dispose();
        _file.Dispose();
    }

    private static nuint TableBytes(int grants) =>
        ((nuint)grants * (nuint)Unsafe.SizeOf<GrantTable.GrantEntryV1>() + PageBytes - 1) & ~(nuint)(PageBytes - 1);

    private static nuint LengthOf(int frames, int grants) => TableBytes(grants) + ((nuint)frames * PageBytes);
}
