using System.Runtime.InteropServices;
using Blkring.Engine.Memory;
using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// Finds out whether O_DIRECT works on an open file, and at which alignment, by reading one sector of it. That is more
/// reliable than what the file system declares (STATX_DIOALIGN), which kernels before 6.1 do not report at all.
/// </summary>
internal static class DirectIoProbe
{
    /// <summary>Tries 512-byte sectors, then 4096-byte ones.</summary>
    /// <param name="file">Opened with O_DIRECT.</param>
    /// <param name="minAlignment">The least alignment to try.</param>
    /// <returns>0, or a positive errno: EINVAL where neither works.</returns>
    public static int FindAlignment(
        ImageCalls calls,
        FileDescriptor file,
        long length,
        int minAlignment,
        out int alignment
    )
    {
        alignment = minAlignment;
        int errno = TryReadOneSector(calls, file, length, alignment);
        if (errno != Errno.EINVAL || alignment >= Arena.PageBytes || length % Arena.PageBytes != 0)
            return errno;
        alignment = Arena.PageBytes;
        return TryReadOneSector(calls, file, length, alignment);
    }

    /// <summary>
    /// Reads with an offset (if the file is long enough) and an address aligned to a sector and no more.
    /// </summary>
    private static unsafe int TryReadOneSector(ImageCalls calls, FileDescriptor file, long length, int sectorBytes)
    {
        // Safe: two pages hold a sector of at most a page at an offset of at most a page.
        void* page = NativeMemory.AlignedAlloc(2 * Arena.PageBytes, Arena.PageBytes);
        try
        {
            nint read = calls.Read(
                file,
                (byte*)page + sectorBytes,
                sectorBytes,
                length > sectorBytes ? sectorBytes : 0
            );
            return read < 0 ? (int)-read : 0;
        }
        finally
        {
            NativeMemory.AlignedFree(page);
        }
    }
}
