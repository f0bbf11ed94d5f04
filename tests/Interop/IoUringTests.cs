using System.Diagnostics;
using System.Runtime.InteropServices;
using static Blkring.Interop.IoUringAbi;
using static Blkring.Interop.Libc;

namespace Blkring.Interop.Tests;

public sealed unsafe class IoUringTests : IDisposable
{
    const int PageBytes = 4096;

    readonly TempDirectory _directory = new();
    readonly MappedMemory _memory = MappedMemory.Anonymous(16 * PageBytes);

    public void Dispose()
    {
        _memory.Dispose();
        _directory.Dispose();
    }

    Span<byte> Page(int index) => new(_memory.Address + index * PageBytes, PageBytes);

    [Fact]
    public void What_is_written_is_read_back_and_reaches_the_file()
    {
        using var file = _directory.CreateFile(4 * PageBytes);
        using var ring = Rings.CreateEnabled();
        Page(0).Fill(0x5a);

        Assert.Equal(PageBytes, ring.Run(IORING_OP_WRITE, file.Value, _memory.Address, PageBytes, PageBytes));
        var sync = ring.Prepare(IORING_OP_FSYNC, file.Value, null, 0, 0);
        sync->fsync_flags = IORING_FSYNC_DATASYNC;
        Assert.Equal(0, ring.Complete());
        Assert.Equal(
            PageBytes,
            ring.Run(IORING_OP_READ, file.Value, _memory.Address + PageBytes, PageBytes, PageBytes)
        );

        Assert.True(Page(1).SequenceEqual(Page(0)));
        Assert.Equal(PageBytes, Pread(file.Value, _memory.Address + 2 * PageBytes, PageBytes, PageBytes));
        Assert.True(Page(2).SequenceEqual(Page(0)));
    }

    [Fact]
    public void A_restricted_ring_does_what_it_was_made_for_and_refuses_the_rest()
    {
        using var file = _directory.CreateFile(4 * PageBytes);
        using var ring = Rings.CreateEnabled(new() { Operations = [IORING_OP_READ, IORING_OP_READ_FIXED] });
        Assert.Contains("restricted", ring.Describe(), StringComparison.Ordinal);
        var slot = ring.TryRegisterFile(file.Value);
        Assert.True(slot >= 0, "files are registered after the ring was enabled");
        Assert.True(ring.TryRegisterBuffer(_memory.Address, PageBytes) >= 0, "so are buffers");
        Assert.Equal(PageBytes, ring.Run(IORING_OP_READ, slot, _memory.Address, PageBytes, 0, IOSQE_FIXED_FILE));

        Assert.Equal(-Errno.EACCES, ring.Run(IORING_OP_WRITE, file.Value, _memory.Address, PageBytes, 0));
        Assert.Equal(-Errno.EACCES, ring.Run(IORING_OP_NOP, -1, null, 0, 0));
        Assert.Equal(
            -Errno.EACCES,
            ring.Run(IORING_OP_READ, file.Value, _memory.Address, PageBytes, 0, flags: IOSQE_ASYNC)
        );
    }

    [Fact]
    public void Vectored_requests_gather_and_scatter()
    {
        using var file = _directory.CreateFile(2 * PageBytes);
        using var ring = Rings.CreateEnabled();
        Page(0).Fill(1);
        Page(3).Fill(2);
        var vectors = stackalloc iovec[2];
        vectors[0] = new() { iov_base = _memory.Address, iov_len = PageBytes };
        vectors[1] = new() { iov_base = _memory.Address + 3 * PageBytes, iov_len = PageBytes };

        Assert.Equal(2 * PageBytes, ring.Run(IORING_OP_WRITEV, file.Value, vectors, 2, 0));
        vectors[0].iov_base = _memory.Address + 5 * PageBytes;
        vectors[1].iov_base = _memory.Address + 7 * PageBytes;
        Assert.Equal(2 * PageBytes, ring.Run(IORING_OP_READV, file.Value, vectors, 2, 0));

        Assert.True(Page(5).SequenceEqual(Page(0)));
        Assert.True(Page(7).SequenceEqual(Page(3)));
    }

    [Fact]
    public void Fallocate_punches_a_hole_of_zeros()
    {
        using var file = _directory.CreateFile(2 * PageBytes);
        using var ring = Rings.CreateEnabled();
        Page(0).Fill(0xff);
        Assert.Equal(PageBytes, Pwrite(file.Value, _memory.Address, PageBytes, PageBytes));

        // addr is the length, len the mode, off the offset.
        Assert.Equal(
            0,
            ring.Run(
                IORING_OP_FALLOCATE,
                file.Value,
                (void*)PageBytes,
                FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                PageBytes
            )
        );

        Assert.Equal(PageBytes, Pread(file.Value, _memory.Address, PageBytes, PageBytes));
        Assert.True(Page(0).IndexOfAnyExcept((byte)0) < 0);
    }

    [Fact]
    public void Reads_past_the_end_are_short_and_errors_come_as_results()
    {
        using var file = _directory.CreateFile(100);
        using var ring = Rings.CreateEnabled();
        Assert.Equal(100, ring.Run(IORING_OP_READ, file.Value, _memory.Address, PageBytes, 0));
        Assert.Equal(0, ring.Run(IORING_OP_READ, file.Value, _memory.Address, PageBytes, PageBytes));
        Assert.Equal(-Errno.EBADF, ring.Run(IORING_OP_READ, -1, _memory.Address, PageBytes, 0));
    }

    [Fact]
    public void A_bad_entry_does_not_stop_the_ones_behind_it()
    {
        using var ring = Rings.CreateEnabled();
        ring.Prepare(opcode: 0xff, -1, null, 0, 0, userData: 1);
        ring.PrepareNop(2);
        Assert.Equal(2, ring.SubmitAndWait(2));
        Assert.Equal([(1UL, -Errno.EINVAL), (2UL, 0)], ring.TakeAll());
    }

    [Fact]
    public void An_eventfd_is_polled_and_read()
    {
        using var signal = new EventFd();
        using var blocking = new FileDescriptor(Eventfd(0));
        using var ring = Rings.CreateEnabled();
        var poll = ring.Prepare(IORING_OP_POLL_ADD, signal.Value, null, 0, 0, userData: 1);
        poll->poll32_events = (uint)POLLIN;
        ring.Prepare(IORING_OP_READ, blocking.Value, _memory.Address, sizeof(ulong), ulong.MaxValue, userData: 2);
        Assert.Equal(2, ring.Submit());
        Assert.Equal(-Errno.ETIME, ring.SubmitAndWait(1, timeoutNs: 1_000_000));
        Assert.Empty(ring.TakeAll());

        Assert.Equal(0, signal.Signal());
        Assert.Equal(0, ring.SubmitAndWait(1));
        Assert.Equal([(1UL, (int)POLLIN)], ring.TakeAll());
        Assert.True(signal.TryConsume());

        ulong five = 5;
        Assert.Equal(sizeof(ulong), Write(blocking.Value, (byte*)&five, sizeof(ulong)));
        Assert.Equal(0, ring.SubmitAndWait(1));
        Assert.Equal([(2UL, sizeof(ulong))], ring.TakeAll());
        Assert.Equal(5UL, *(ulong*)_memory.Address);
    }

    [Fact]
    public void A_full_submission_queue_gives_null_until_it_is_submitted()
    {
        using var ring = Rings.CreateEnabled(new() { SubmissionEntries = 8, CompletionEntries = 16 });
        Assert.Equal((8u, 16u), (ring.SubmissionEntries, ring.CompletionEntries));
        for (ulong i = 0; i < 8; i++)
            ring.PrepareNop(i);
        Assert.True(ring.TryGetSqe() == null);
        Assert.Equal(8u, ring.PendingSubmissions);

        Assert.Equal(8, ring.Submit());
        Assert.Equal(0u, ring.PendingSubmissions);
        Assert.True(ring.TryGetSqe() != null);
        Assert.Equal(Enumerable.Range(0, 8).Select(i => ((ulong)i, 0)), ring.TakeAll());
    }

    [Fact]
    public void An_entry_is_zeroed_each_time_round()
    {
        using var ring = Rings.CreateEnabled(new() { SubmissionEntries = 1, CompletionEntries = 2 });
        var sqe = ring.TryGetSqe();
        new Span<byte>(sqe, sizeof(io_uring_sqe)).Fill(0xff);
        Assert.Equal(1, ring.SubmitAndWait(1));
        Assert.Equal([(ulong.MaxValue, -Errno.EINVAL)], ring.TakeAll());

        Assert.True(ring.TryGetSqe() == sqe);
        Assert.True(new ReadOnlySpan<byte>(sqe, sizeof(io_uring_sqe)).IndexOfAnyExcept((byte)0) < 0);
    }

    [Fact]
    public void Indices_go_round_the_rings_many_times()
    {
        using var ring = Rings.CreateEnabled(new() { SubmissionEntries = 4, CompletionEntries = 8 });
        for (ulong round = 0; round < 1000; round++)
        {
            for (ulong i = 0; i < 3; i++)
                ring.PrepareNop(round * 3 + i);
            Assert.Equal(3, ring.SubmitAndWait(3));
            Assert.Equal([(round * 3, 0), (round * 3 + 1, 0), (round * 3 + 2, 0)], ring.TakeAll());
        }
    }

    [Fact]
    public void A_submit_makes_one_enter_for_a_batch_and_none_for_nothing()
    {
        using var ring = Rings.CreateEnabled();
        Assert.Equal(0, ring.Submit());
        Assert.Equal(0UL, ring.EnterCount);
        for (ulong i = 0; i < 100; i++)
            ring.PrepareNop(i);
        Assert.Equal(100, ring.Submit());
        Assert.Equal(1UL, ring.EnterCount);
        Assert.Equal(100, ring.TakeAll().Count);
        Assert.Equal(0, ring.Submit());
        Assert.Equal(1UL, ring.EnterCount);
    }

    [Fact]
    public void Submit_enters_for_a_completion_that_waits_for_this_thread()
    {
        using var signal = new EventFd();
        using var ring = Rings.CreateEnabled();
        ring.Prepare(IORING_OP_POLL_ADD, signal.Value, null, 0, 0)->poll32_events = (uint)POLLIN;
        Assert.Equal(1, ring.Submit());
        Assert.Equal(0, ring.Submit());
        Assert.Equal(1UL, ring.EnterCount);

        Assert.Equal(0, signal.Signal());
        Assert.Equal(ring.CompletionHead, ring.LoadCompletionTail());
        Assert.Equal(0, ring.Submit());
        Assert.Equal(2UL, ring.EnterCount);
        Assert.Equal((int)POLLIN, Assert.Single(ring.TakeAll()).Result);
    }

    [Fact]
    public void A_wait_ends_with_ETIME_after_its_time()
    {
        using var ring = Rings.CreateEnabled();
        var start = Stopwatch.GetTimestamp();
        Assert.Equal(-Errno.ETIME, ring.SubmitAndWait(1, timeoutNs: 20_000_000));
        Assert.True(Stopwatch.GetElapsedTime(start) >= TimeSpan.FromMilliseconds(20));
        Assert.Equal(-Errno.ETIME, ring.SubmitAndWait(1, timeoutNs: 0));
        Assert.Equal(0, ring.SubmitAndWait(0, timeoutNs: 1_000_000_000));
    }

    [Fact]
    public void Entries_taken_are_reported_even_when_the_wait_ran_out()
    {
        using var ring = Rings.CreateEnabled();
        ring.PrepareNop(7);
        Assert.Equal(1, ring.SubmitAndWait(minComplete: 2, timeoutNs: 1_000_000));
        Assert.Equal([(7UL, 0)], ring.TakeAll());
    }

    [Fact]
    public void A_signal_ends_a_wait_with_EINTR()
    {
        Assert.NotNull(IgnoreSigusr1);
        int result = 1,
            tid = 0;
        var thread = new Thread(() =>
        {
            using var ring = Rings.CreateEnabled();
            Volatile.Write(ref tid, Gettid());
            Volatile.Write(ref result, ring.SubmitAndWait(1));
        });
        thread.Start();
        // A signal that arrives before the wait is lost, hence more than one.
        while (!thread.Join(millisecondsTimeout: 5))
        {
            if (Volatile.Read(ref tid) != 0)
                Syscall(NrTgkill, Getpid(), tid, Sigusr1);
        }
        Assert.Equal(-Errno.EINTR, result);
    }

    const int Sigusr1 = 10;

    // For the life of the process: the runtime handles signals on a thread of its own, and one that it finds without a
    // handler is fatal.
    static readonly PosixSignalRegistration IgnoreSigusr1 = PosixSignalRegistration.Create(
        (PosixSignal)Sigusr1,
        static context => context.Cancel = true
    );

    // asm/unistd.h: the number differs, the call does not.
    static int NrTgkill => RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 234 : 131;

    [Fact]
    public void Completions_that_do_not_fit_are_held_back_and_flushed_by_the_next_submit()
    {
        using var ring = Rings.CreateEnabled(new() { SubmissionEntries = 4, CompletionEntries = 4 });
        for (ulong i = 0; i < 8; i++)
        {
            ring.PrepareNop(i);
            Assert.Equal(1, ring.Submit());
        }
        Assert.True(ring.CompletionsOverflowed);
        Assert.Equal([0UL, 1UL, 2UL, 3UL], ring.TakeAll().Select(c => c.UserData));

        Assert.Equal(0, ring.Submit());
        Assert.False(ring.CompletionsOverflowed);
        Assert.Equal([4UL, 5UL, 6UL, 7UL], ring.TakeAll().Select(c => c.UserData));
    }

    [Fact]
    public void A_registered_file_outlives_its_descriptor_until_its_slot_is_emptied()
    {
        using var ring = Rings.CreateEnabled(new() { RegisteredFiles = 2 });
        int slot;
        using (var file = _directory.CreateFile(PageBytes))
            slot = ring.TryRegisterFile(file.Value);
        Assert.Equal(0, slot);
        Assert.Equal(PageBytes, ring.Run(IORING_OP_READ, slot, _memory.Address, PageBytes, 0, IOSQE_FIXED_FILE));

        ring.UnregisterFile(slot);
        Assert.Equal(-Errno.EBADF, ring.Run(IORING_OP_READ, slot, _memory.Address, PageBytes, 0, IOSQE_FIXED_FILE));
        Assert.Throws<ArgumentOutOfRangeException>(() => ring.UnregisterFile(slot));
    }

    [Fact]
    public void File_slots_run_out_and_come_back()
    {
        using var file = _directory.CreateFile(PageBytes);
        using var ring = Rings.CreateEnabled(new() { RegisteredFiles = 2 });
        Assert.Equal(-1, ring.TryRegisterFile(-5));
        Assert.Equal(0, ring.TryRegisterFile(file.Value));
        Assert.Equal(1, ring.TryRegisterFile(file.Value));
        Assert.Equal(-1, ring.TryRegisterFile(file.Value));
        ring.UnregisterFile(0);
        Assert.Equal(0, ring.TryRegisterFile(file.Value));
    }

    [Fact]
    public void A_registered_buffer_carries_fixed_requests_within_its_bounds()
    {
        using var file = _directory.CreateFile(2 * PageBytes);
        using var ring = Rings.CreateEnabled(new() { RegisteredBuffers = 1 });
        var slot = ring.TryRegisterBuffer(_memory.Address, 2 * PageBytes);
        Assert.Equal(0, slot);
        Assert.Equal(-1, ring.TryRegisterBuffer(_memory.Address, PageBytes));
        Page(0).Fill(0x77);

        Assert.Equal(
            PageBytes,
            ring.Run(IORING_OP_WRITE_FIXED, file.Value, _memory.Address, PageBytes, 0, buffer: (ushort)slot)
        );
        Assert.Equal(
            PageBytes,
            ring.Run(IORING_OP_READ_FIXED, file.Value, _memory.Address + PageBytes, PageBytes, 0, buffer: (ushort)slot)
        );
        Assert.True(Page(1).SequenceEqual(Page(0)));
        Assert.Equal(
            -Errno.EFAULT,
            ring.Run(
                IORING_OP_READ_FIXED,
                file.Value,
                _memory.Address + 2 * PageBytes,
                PageBytes,
                0,
                buffer: (ushort)slot
            )
        );

        ring.UnregisterBuffer(slot);
        Assert.Equal(
            -Errno.EFAULT,
            ring.Run(IORING_OP_READ_FIXED, file.Value, _memory.Address, PageBytes, 0, buffer: (ushort)slot)
        );
        Assert.Equal(0, ring.TryRegisterBuffer(_memory.Address, PageBytes));
    }

    [Fact]
    public void A_buffer_that_is_not_memory_is_refused_and_keeps_no_slot()
    {
        using var ring = Rings.CreateEnabled(new() { RegisteredBuffers = 1 });
        Assert.Equal(-1, ring.TryRegisterBuffer((void*)PageBytes, PageBytes));
        Assert.Equal(-1, ring.TryRegisterBuffer(_memory.Address, 0));
        Assert.Equal(0, ring.TryRegisterBuffer(_memory.Address, PageBytes));
    }

    [Fact]
    public void The_kernel_names_the_operations_it_has()
    {
        using var ring = Rings.Create();
        Assert.All(
            [IORING_OP_READ, IORING_OP_WRITE_FIXED, IORING_OP_FSYNC, IORING_OP_POLL_ADD],
            opcode => Assert.True(ring.Supports(opcode))
        );
        Assert.False(ring.Supports(255));
    }

    [Fact]
    public void Disposal_is_idempotent_and_closes_the_ring()
    {
        var ring = Rings.CreateEnabled();
        var openBefore = OpenDescriptors();
        ring.Dispose();
        ring.Dispose();
        Assert.Equal(openBefore - 1, OpenDescriptors());
    }

    static int OpenDescriptors() =>
        Directory
            .GetFileSystemEntries("/proc/self/fd")
            .Count(f => new FileInfo(f).LinkTarget == "anon_inode:[io_uring]");
}
