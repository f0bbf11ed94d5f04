using static Blkring.Interop.Libc;

namespace Blkring.Interop.Tests;

static class TempFiles
{
    /// <summary>Creates a file of zeros in the directory, open for reading and writing.</summary>
    public static FileDescriptor CreateFile(this TempDirectory directory, long lengthBytes)
    {
        var fd = Open(directory.PathOf(Guid.NewGuid().ToString()), O_RDWR | O_CREAT | O_EXCL, mode: 0x180);
        Assert.True(fd >= 0, Errno.Describe(fd));
        var file = new FileDescriptor(fd);
        Assert.Equal(0, Ftruncate(fd, lengthBytes));
        return file;
    }
}
