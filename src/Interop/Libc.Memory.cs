using System.Runtime.InteropServices;

namespace Blkring.Interop;

public static unsafe partial class Libc
{
    // bits/mman-linux.h, asm-generic/mman-common.h
    public const int PROT_NONE = 0;
    public const int PROT_READ = 1;
    public const int PROT_WRITE = 2;
    public const int MAP_SHARED = 0x01;
    public const int MAP_PRIVATE = 0x02;
    public const int MAP_FIXED = 0x10;
    public const int MAP_ANONYMOUS = 0x20;
    public const int MAP_NORESERVE = 0x4000;
    public const int MAP_POPULATE = 0x8000;
    public const int MADV_DONTNEED = 4;
    public const int MADV_DONTFORK = 10;
    public const int MADV_HUGEPAGE = 14;
    public const int MADV_NOHUGEPAGE = 15;
    public const uint MFD_CLOEXEC = 1;
    public const uint MFD_ALLOW_SEALING = 2;

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint mmap(nint addr, nuint length, int prot, int flags, int fd, long offset);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int munmap(void* addr, nuint length);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int madvise(void* addr, nuint length, int advice);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int memfd_create(byte* name, uint flags);

    /// <summary>mmap(2): the address, or -errno (-4095..-1, which no mapping can be).</summary>
    public static nint Mmap(nint address, nuint lengthBytes, int protection, int flags, int fd, long offset)
    {
        var mapped = mmap(address, lengthBytes, protection, flags, fd, offset);
        return mapped != -1 ? mapped : -Marshal.GetLastPInvokeError();
    }

    /// <summary>munmap(2): 0 or -errno.</summary>
    public static int Munmap(void* address, nuint lengthBytes) => Result(munmap(address, lengthBytes));

    /// <summary>madvise(2): 0 or -errno.</summary>
    public static int Madvise(void* address, nuint lengthBytes, int advice) =>
        Result(madvise(address, lengthBytes, advice));

    /// <summary>memfd_create(2) with MFD_CLOEXEC always: a descriptor or -errno.</summary>
    public static int MemfdCreate(string name, uint flags = 0)
    {
        fixed (byte* bytes = PathBytes(name))
            return Result(memfd_create(bytes, flags | MFD_CLOEXEC));
    }
}
