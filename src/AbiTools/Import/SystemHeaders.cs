namespace Blkring.AbiTools.Import;

/// <summary>
/// A folder with the few C and Linux headers that Xen's headers include. They define types only and do not depend on
/// the host: the import gives the same spec on every machine, and needs no C library for other targets.
/// </summary>
internal sealed class SystemHeaders : IDisposable
{
    public const string FolderName = "blkring-import-";

    // uint64_t is long long on all targets, so that long, whose width depends on the target, appears only where a
    // header writes it.
    private const string StdInt = """
        #ifndef BLKRING_STDINT
        #define BLKRING_STDINT
        typedef unsigned char uint8_t;
        typedef signed char int8_t;
        typedef unsigned short uint16_t;
        typedef short int16_t;
        typedef unsigned int uint32_t;
        typedef int int32_t;
        typedef unsigned long long uint64_t;
        typedef long long int64_t;
        typedef __UINTPTR_TYPE__ uintptr_t;
        typedef __SIZE_TYPE__ size_t;
        typedef __PTRDIFF_TYPE__ ptrdiff_t;
        #define NULL ((void *)0)
        #define offsetof(type, member) __builtin_offsetof(type, member)
        void *memcpy(void *, const void *, size_t);
        void *memset(void *, int, size_t);
        #endif

        """;

    public const string LinuxIntegers = """
        typedef uint8_t u8;
        typedef int8_t s8;
        typedef uint16_t u16;
        typedef int16_t s16;
        typedef uint32_t u32;
        typedef int32_t s32;
        typedef uint64_t u64;
        typedef int64_t s64;

        """;

    // The headers of libxen-dev that describe Linux's drivers include this. The host's own would need the target's
    // headers.
    private const string LinuxTypes = """
        #include <stdint.h>
        #ifndef BLKRING_LINUX_TYPES
        #define BLKRING_LINUX_TYPES
        typedef uint8_t __u8;
        typedef int8_t __s8;
        typedef uint16_t __u16;
        typedef int16_t __s16;
        typedef uint32_t __u32;
        typedef int32_t __s32;
        typedef uint64_t __u64;
        typedef int64_t __s64;
        #define __user
        #endif

        """;

    // An old xs_wire.h has a table of these names. Their values are the host's, and no spec contains them.
    private static readonly string[] ErrorNames =
    [
        "EINVAL",
        "EACCES",
        "EEXIST",
        "EISDIR",
        "ENOENT",
        "ENOMEM",
        "ENOSPC",
        "EIO",
        "ENOTEMPTY",
        "ENOSYS",
        "EROFS",
        "EBUSY",
        "EAGAIN",
        "EISCONN",
        "E2BIG",
        "EPERM",
    ];

    private static readonly string[] Names = ["stdint.h", "stddef.h", "inttypes.h", "string.h", "sys/types.h"];

    public SystemHeaders()
    {
        Folder = Directory.CreateTempSubdirectory(FolderName).FullName;
        foreach (string folder in new[] { "sys", "linux", "asm" })
            Directory.CreateDirectory(Path.Combine(Folder, folder));
        foreach (string name in Names)
            File.WriteAllText(Path.Combine(Folder, name), StdInt);
        File.WriteAllText(Path.Combine(Folder, "linux/types.h"), LinuxTypes);
        File.WriteAllText(Path.Combine(Folder, "asm/ioctl.h"), "#include <asm-generic/ioctl.h>\n");
        File.WriteAllLines(Path.Combine(Folder, "errno.h"), ErrorNames.Select(name => $"#define {name} 1"));
    }

    public string Folder { get; }

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}
