using static Blkring.Interop.Libc;

namespace Blkring.Interop.Tests;

public sealed unsafe class MappedMemoryTests
{
    static nuint PageBytes => (nuint)Environment.SystemPageSize;

    [Fact]
    public void Anonymous_memory_is_zeroed_writable_and_aligned()
    {
        using var memory = MappedMemory.Anonymous(3 * PageBytes);
        Assert.Equal(0u, (nuint)memory.Address % PageBytes);
        Assert.Equal(3 * PageBytes, memory.LengthBytes);
        var bytes = new Span<byte>(memory.Address, (int)memory.LengthBytes);
        Assert.True(bytes.IndexOfAnyExcept((byte)0) < 0);
        bytes.Fill(9);
        Assert.Equal(9, memory.Address[memory.LengthBytes - 1]);
    }

    [Theory]
    [InlineData(true, 16)]
    [InlineData(false, 0)]
    public void Populating_takes_the_page_faults_at_once(bool populate, int present)
    {
        using var memory = MappedMemory.Anonymous(16 * PageBytes, populate);
        Madvise(memory.Address, memory.LengthBytes, MADV_NOHUGEPAGE);
        Assert.Equal(present, PresentPages(memory));
    }

    [Fact]
    public void Shared_mappings_of_a_file_see_each_other_and_private_ones_do_not()
    {
        using var file = new FileDescriptor(MemfdCreate("blkring-test"));
        Assert.Equal(0, Ftruncate(file.Value, (long)(2 * PageBytes)));
        using var first = MappedMemory.FromFile(file.Value, 0, 2 * PageBytes, writable: true, shared: true);
        using var second = MappedMemory.FromFile(file.Value, (long)PageBytes, PageBytes, writable: false, shared: true);
        using var alone = MappedMemory.FromFile(file.Value, (long)PageBytes, PageBytes, writable: true, shared: false);
        file.Dispose();
        alone.Address[0] = 1;
        first.Address[PageBytes] = 7;
        Assert.Equal(7, second.Address[0]);
        Assert.Equal(1, alone.Address[0]);
        Assert.StartsWith("rw-s", Protection(first), StringComparison.Ordinal);
        Assert.StartsWith("r--s", Protection(second), StringComparison.Ordinal);
        Assert.StartsWith("rw-p", Protection(alone), StringComparison.Ordinal);
    }

    [Fact]
    public void Disposal_unmaps_once()
    {
        var memory = MappedMemory.Anonymous(PageBytes);
        memory.Dispose();
        Assert.True(memory.Address == null);
        // A mapping made at the old address would be lost to a second munmap of it.
        memory.Dispose();
        Assert.True(memory.Address == null);
    }

    [Fact]
    public void A_disposed_mapping_is_gone_from_the_process()
    {
        using var file = new FileDescriptor(MemfdCreate("blkring-gone"));
        Assert.Equal(0, Ftruncate(file.Value, (long)PageBytes));
        var memory = MappedMemory.FromFile(file.Value, 0, PageBytes, writable: true, shared: true);
        Assert.Contains(File.ReadLines("/proc/self/maps"), l => l.Contains("blkring-gone", StringComparison.Ordinal));
        memory.Dispose();
        Assert.DoesNotContain(
            File.ReadLines("/proc/self/maps"),
            l => l.Contains("blkring-gone", StringComparison.Ordinal)
        );
    }

    [Fact]
    public void Refusals_are_exceptions_with_the_errno()
    {
        Assert.Equal(Errno.EINVAL, Assert.Throws<IOException>(() => MappedMemory.Anonymous(0)).HResult);
        Assert.Equal(
            Errno.EBADF,
            Assert.Throws<IOException>(() => MappedMemory.FromFile(-1, 0, PageBytes, false, true)).HResult
        );
    }

    static string Protection(MappedMemory memory)
    {
        var start = ((nuint)memory.Address).ToString("x", null) + "-";
        return File.ReadLines("/proc/self/maps").Single(l => l.StartsWith(start, StringComparison.Ordinal)).Split(' ')[
            1
        ];
    }

    // proc(5), pagemap: 8 bytes a page, bit 63 says that it is in memory.
    static int PresentPages(MappedMemory memory)
    {
        using var pagemap = new FileDescriptor(Open("/proc/self/pagemap", O_RDONLY));
        var pages = (int)(memory.LengthBytes / PageBytes);
        var entries = new ulong[pages];
        fixed (ulong* pinned = entries)
        {
            Assert.Equal(
                pages * sizeof(ulong),
                Pread(
                    pagemap.Value,
                    (byte*)pinned,
                    (nuint)(pages * sizeof(ulong)),
                    (long)((nuint)memory.Address / PageBytes * sizeof(ulong))
                )
            );
        }
        return entries.Count(e => e >> 63 != 0);
    }
}
