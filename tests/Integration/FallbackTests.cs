using Blkring.Engine.Reactors;
using Blkring.Interop;

namespace Blkring.Integration.Tests;

/// <summary>A kernel that refuses io_uring: the reactor works without it, and says why.</summary>
public sealed class FallbackTests
{
    [Fact]
    public void A_refused_ring_gives_poll_with_the_kernels_reason()
    {
        // Every kernel refuses a ring without entries, whether it has io_uring or not.
        using Reactor reactor = new(new ReactorOptions { Ring = new IoUringOptions { SubmissionEntries = 0 } });

        Assert.False(reactor.UsesIoUring);
        Assert.StartsWith(
            "pread/pwrite and poll, without io_uring: io_uring_setup: E",
            reactor.Describe(),
            StringComparison.Ordinal
        );
    }
}
