using System.Diagnostics;
using System.Reflection;
using static Blkring.Interop.Libc;

namespace Blkring.Interop.Tests;

public sealed unsafe class LibcTests : IDisposable
{
    readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void An_errno_is_named_and_described_with_either_sign()
    {
        Assert.Equal("ENOSPC (No space left on device)", Errno.Describe(28));
        Assert.Equal("ENOSPC (No space left on device)", Errno.Describe(-28));
        Assert.StartsWith("errno 133 (", Errno.Describe(133), StringComparison.Ordinal);
        var exception = Errno.ToException("open", -Errno.EACCES);
        Assert.Equal(("open: EACCES (Permission denied)", Errno.EACCES), (exception.Message, exception.HResult));
    }

    [Fact]
    public void Every_errno_declared_has_its_name()
    {
        var declared = typeof(Errno).GetFields(BindingFlags.Public | BindingFlags.Static);
        Assert.NotEmpty(declared);
        Assert.All(
            declared,
            f => Assert.StartsWith($"{f.Name} (", Errno.Describe((int)f.GetValue(null)!), StringComparison.Ordinal)
        );
    }

    [Fact]
    public void Failed_calls_return_the_negative_errno()
    {
        Assert.Equal(-Errno.ENOENT, Open(Path.Combine(_directory.Path, "none"), O_RDONLY));
        Assert.Equal(-Errno.EBADF, Pread(-1, null, 0, 0));
        Assert.Equal(-Errno.EBADF, Fdatasync(-1));
        Assert.Equal(-Errno.EBADF, Fallocate(-1, 0, 0, 1));
        Assert.Equal(-Errno.EBADF, Ioctl(-1, BLKGETSIZE64, null));
        Assert.Equal(-Errno.EINVAL, Mmap(0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        Assert.Equal(-Errno.EBADF, Listen(-1, 1));
        Assert.Equal(-Errno.EBADF, Accept(-1));
    }

    [Fact]
    public void Files_are_extended_allocated_synced_and_described()
    {
        using var file = _directory.CreateFile(0);
        Assert.Equal(0, Fallocate(file.Value, 0, 0, 1 << 20));
        Assert.Equal(0, Fdatasync(file.Value));
        Assert.Equal(0, Fstatx(file.Value, STATX_BASIC_STATS | STATX_DIOALIGN, out var status));
        Assert.Equal(STATX_BASIC_STATS, status.stx_mask & STATX_BASIC_STATS);
        Assert.Equal(1UL << 20, status.stx_size);
        Assert.Equal(S_IFREG, status.stx_mode & S_IFMT);
        Assert.True(status.stx_blocks * 512 >= 1 << 20);
        Assert.Equal(0, Fstatfs(file.Value, out var system));
        Assert.NotEqual(0, system.f_type);
        Assert.True(system.f_blocks >= system.f_bfree);
    }

    [Fact]
    public void Statx_of_a_path_finds_what_the_descriptor_shows()
    {
        using var file = _directory.CreateFile(12345);
        Assert.Equal(0, Fstatx(file.Value, STATX_BASIC_STATS, out var opened));
        Assert.Equal(0, Statx(Directory.GetFiles(_directory.Path).Single(), 0, STATX_BASIC_STATS, out var named));
        Assert.Equal((opened.stx_ino, 12345UL), (named.stx_ino, named.stx_size));
    }

    [Fact]
    public void A_regular_file_answers_block_device_requests_with_ENOTTY()
    {
        using var file = _directory.CreateFile(4096);
        ulong bytes;
        Assert.Equal(-Errno.ENOTTY, Ioctl(file.Value, BLKGETSIZE64, &bytes));
    }

    [Fact]
    public void Vectors_are_written_and_read_in_order()
    {
        using var file = _directory.CreateFile(0);
        var data = stackalloc byte[4] { 1, 2, 3, 4 };
        var vectors = stackalloc iovec[2];
        vectors[0] = new() { iov_base = data + 2, iov_len = 2 };
        vectors[1] = new() { iov_base = data, iov_len = 2 };
        Assert.Equal(4, Pwritev(file.Value, vectors, 2, 100));
        var read = stackalloc byte[4];
        vectors[0].iov_base = read;
        vectors[1].iov_base = read + 2;
        Assert.Equal(4, Preadv(file.Value, vectors, 2, 100));
        Assert.Equal(new byte[] { 3, 4, 1, 2 }, new ReadOnlySpan<byte>(read, 4).ToArray());
    }

    [Fact]
    public void A_descriptor_is_closed_once_and_then_names_nothing()
    {
        var number = Eventfd(0);
        using (var descriptor = new FileDescriptor(number))
        {
            Assert.Equal(number, descriptor.Value);
            Assert.False(descriptor.IsInvalid);
            descriptor.Dispose();
            Assert.Equal(-1, descriptor.Value);
        }
        Assert.True(new FileDescriptor(-1).IsInvalid);
    }

    [Fact]
    public void A_borrowed_descriptor_stays_open()
    {
        using var owner = new FileDescriptor(Eventfd(0));
        new FileDescriptor(owner.Value, owns: false).Dispose();
        ulong one = 1;
        Assert.Equal(sizeof(ulong), Write(owner.Value, (byte*)&one, sizeof(ulong)));
    }

    [Fact]
    public void What_is_opened_is_closed_on_exec()
    {
        using var file = _directory.CreateFile(0);
        using var memory = new FileDescriptor(MemfdCreate("blkring-test"));
        using var signal = new EventFd();
        Assert.Equal(0, Socketpair(SOCK_STREAM, out var first, out var second));
        using var socket = new FileDescriptor(first);
        using var peer = new FileDescriptor(second);
        Assert.All(
            [file.Value, memory.Value, signal.Value, first, second],
            fd =>
            {
                var flags = File.ReadLines($"/proc/self/fdinfo/{fd}")
                    .Single(l => l.StartsWith("flags:", StringComparison.Ordinal))
                    .Split('\t')[1];
                Assert.NotEqual(0, Convert.ToInt32(flags, 8) & O_CLOEXEC);
            }
        );
    }

    [Fact]
    public void An_eventfd_is_consumed_once_for_many_signals()
    {
        using var signal = new EventFd();
        Assert.False(signal.TryConsume());
        Assert.Equal(0, signal.Signal());
        Assert.Equal(0, signal.Signal());
        Assert.True(signal.TryConsume());
        Assert.False(signal.TryConsume());
        signal.Dispose();
        Assert.Equal(-Errno.EBADF, signal.Signal());
    }

    [Fact]
    public void Poll_waits_for_its_time_and_sees_an_event()
    {
        using var signal = new EventFd();
        pollfd entry = new() { fd = signal.Value, events = POLLIN };
        var start = Stopwatch.GetTimestamp();
        Assert.Equal(0, Ppoll(&entry, 1, timeoutNs: 10_000_000));
        Assert.True(Stopwatch.GetElapsedTime(start) >= TimeSpan.FromMilliseconds(10));
        signal.Signal();
        Assert.Equal(1, Ppoll(&entry, 1, timeoutNs: -1));
        Assert.Equal(1, Poll(&entry, 1, timeoutMs: -1));
        Assert.Equal(POLLIN, entry.revents);
    }

    [Fact]
    public void A_socket_path_that_does_not_fit_is_refused()
    {
        using var socket = new FileDescriptor(Socket(SOCK_STREAM));
        Assert.Equal(-Errno.ENAMETOOLONG, Bind(socket.Value, "/" + new string('a', 107)));
        Assert.Equal(-Errno.ENAMETOOLONG, Connect(socket.Value, "/" + new string('a', 200)));
        Assert.Equal(-Errno.ENOENT, Connect(socket.Value, "/" + new string('a', 106)));
    }

    [Fact]
    public void The_process_and_the_thread_have_their_ids()
    {
        Assert.Equal(Environment.ProcessId, Getpid());
        int tid = 0;
        var thread = new Thread(() => tid = Gettid());
        thread.Start();
        thread.Join();
        Assert.True(tid > 0 && tid != Gettid());
    }

    [Fact]
    public void A_thread_is_named_through_prctl()
    {
        var name = "";
        var thread = new Thread(() =>
        {
            fixed (byte* bytes = "blkring-vbd\0"u8)
            {
                if (Prctl(PR_SET_NAME, (nuint)bytes) == 0)
                    name = File.ReadAllText("/proc/thread-self/comm").Trim();
            }
        });
        thread.Start();
        thread.Join();
        Assert.Equal("blkring-vbd", name);
    }

    [Fact]
    public void A_pinned_thread_is_allowed_one_cpu_and_the_others_keep_theirs()
    {
        var before = CpuAffinity.Allowed();
        Assert.NotEmpty(before);
        int[] pinned = [];
        var current = -1;
        var thread = new Thread(() =>
        {
            CpuAffinity.PinCurrentThread(before[^1]);
            pinned = CpuAffinity.Allowed();
            current = Thread.GetCurrentProcessorId();
        });
        thread.Start();
        thread.Join();
        Assert.Equal([before[^1]], pinned);
        Assert.Equal(before[^1], current);
        Assert.Equal(before, CpuAffinity.Allowed());
    }

    [Fact]
    public void Pinning_to_a_cpu_that_is_not_there_is_refused()
    {
        Assert.Equal(Errno.EINVAL, Assert.Throws<IOException>(() => CpuAffinity.PinCurrentThread(8191)).HResult);
        Assert.Throws<ArgumentOutOfRangeException>(() => CpuAffinity.PinCurrentThread(-1));
        Assert.Throws<ArgumentOutOfRangeException>(() => CpuAffinity.PinCurrentThread(8192));
    }
}
