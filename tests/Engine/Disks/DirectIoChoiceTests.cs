using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Interop;

namespace Blkring.Engine.Tests.Disks;

/// <summary>What makes <c>Cache: none</c> use the page cache, and what does not.</summary>
public sealed class DirectIoChoiceTests
{
    [Theory]
    [InlineData(Errno.EINVAL, true)]
    [InlineData(Errno.EOPNOTSUPP, true)]
    [InlineData(Errno.EINVAL, false)]
    [InlineData(Errno.EOPNOTSUPP, false)]
    public void A_file_system_without_direct_io_is_served_through_the_page_cache(int errno, bool atOpen)
    {
        using TempImage image = new(8);
        using FileDisk disk = Open(image, errno, atOpen, CacheMode.None);
        Assert.False(disk.Direct);
        Assert.Contains("buffered (", disk.Describe(), StringComparison.Ordinal);
        Assert.Equal(
            ErrorCode.ImageWithoutDirectIo,
            Assert.Throws<ImageException>(() => Open(image, errno, atOpen, CacheMode.Direct)).Code
        );
    }

    [Theory]
    [InlineData(Errno.EIO, true)]
    [InlineData(Errno.EMFILE, true)]
    [InlineData(Errno.ENOMEM, true)]
    [InlineData(Errno.ESTALE, true)]
    [InlineData(Errno.EIO, false)]
    [InlineData(Errno.ENODEV, false)]
    public void Any_other_error_is_the_hosts_and_does_not_change_the_cache_mode(int errno, bool atOpen)
    {
        using TempImage image = new(8);
        foreach (CacheMode cache in (CacheMode[])[CacheMode.None, CacheMode.Direct])
        {
            ImageException error = Assert.Throws<ImageException>(() => Open(image, errno, atOpen, cache));
            Assert.Equal((ErrorCode.ImageNotOpened, errno), (error.Code, error.Error.Errno));
            Assert.All(
                [image.Path, atOpen ? "opened" : "read", "O_DIRECT", Errno.Describe(errno)],
                word => Assert.Contains(word, error.Message, StringComparison.Ordinal)
            );
        }
        // The image that was open before the error is closed again.
        image.Open().Dispose();
    }

    private static FileDisk Open(TempImage image, int errno, bool atOpen, CacheMode cache)
    {
        ScriptedCalls calls = new() { DirectOpenError = atOpen ? errno : 0, DirectReadError = atOpen ? 0 : errno };
        return FileDisk.Open(
            image.Path,
            new FileDiskOptions
            {
                Writable = true,
                Cache = cache,
                LockTimeout = TimeSpan.Zero,
                Calls = calls,
                Opener = calls,
            }
        );
    }
}
