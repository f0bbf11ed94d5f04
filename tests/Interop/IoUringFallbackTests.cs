using static Blkring.Interop.IoUringAbi;
using static Blkring.Interop.IoUringOptions;

namespace Blkring.Interop.Tests;

/// <summary>Every step down, by masking what the kernel offers; each ends with a real request.</summary>
public sealed unsafe class IoUringFallbackTests : IDisposable
{
    readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    static string[] Words(IoUring ring) => ring.Describe().Split(": ")[1].Split(", ");

    void AssertReads(IoUring ring)
    {
        using var file = _directory.CreateFile(4096);
        using var memory = MappedMemory.Anonymous(4096);
        memory.Address[7] = 1;
        Assert.Equal(4096, ring.Run(IORING_OP_READ, file.Value, memory.Address, 4096, 0));
        Assert.Equal(0, memory.Address[7]);
        Assert.Equal(-Errno.ETIME, ring.SubmitAndWait(1, timeoutNs: 100_000));
    }

    [Fact]
    public void A_kernel_that_has_the_flag_grants_it_and_runs_without_the_submission_array()
    {
        using var ring = Rings.CreateEnabled();
        // Environment.OSVersion is the kernel's release on Linux.
        Assert.Equal(Environment.OSVersion.Version >= new Version(6, 6), Words(ring).Contains("no_sqarray"));
        AssertReads(ring);
    }

    [Fact]
    public void A_full_grant_is_described_in_one_line()
    {
        Assert.SkipUnless(
            Environment.OSVersion.Version >= new Version(6, 6),
            "needs Linux 6.6 for all that is wished for"
        );
        using var ring = Rings.CreateEnabled();
        Assert.Equal(
            "io_uring: 1024/4096 entries, single_issuer, defer_taskrun, submit_all, no_sqarray, "
                + "registered ring, files and buffers",
            ring.Describe()
        );
    }

    [Theory]
    [InlineData(IORING_SETUP_NO_SQARRAY, "single_issuer, defer_taskrun, submit_all")]
    [InlineData(IORING_SETUP_DEFER_TASKRUN, "single_issuer, coop_taskrun, submit_all")]
    [InlineData(IORING_SETUP_SINGLE_ISSUER, "coop_taskrun, submit_all")]
    [InlineData(IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, "submit_all")]
    [InlineData(IORING_SETUP_SUBMIT_ALL, "")]
    public void A_kernel_without_a_flag_has_it_and_all_newer_ones_dropped(uint missing, string granted)
    {
        // A kernel lacks what is newer too, except that DEFER_TASKRUN needs SINGLE_ISSUER anyway.
        using var ring = Rings.CreateEnabled(new() { Mask = new() { SetupFlags = missing } });
        Assert.Equal(granted, string.Join(", ", Words(ring).Where(w => w.Contains('_', StringComparison.Ordinal))));
        AssertReads(ring);
    }

    [Fact]
    public void Without_deferred_task_work_a_completion_still_shows_after_submit()
    {
        using var signal = new EventFd();
        using var ring = Rings.CreateEnabled(new() { DeferTaskRun = false });
        ring.Prepare(IORING_OP_POLL_ADD, signal.Value, null, 0, 0)->poll32_events = (uint)Libc.POLLIN;
        Assert.Equal(1, ring.Submit());
        Assert.Equal(0, signal.Signal());
        Assert.Equal(0, ring.Submit());
        Assert.Equal((int)Libc.POLLIN, Assert.Single(ring.TakeAll()).Result);
    }

    [Fact]
    public void Without_a_registered_ring_the_plain_descriptor_serves()
    {
        using var ring = Rings.CreateEnabled(new() { Mask = Refusing(IORING_REGISTER_RING_FDS) });
        Assert.Contains("registered files and buffers", Words(ring));
        AssertReads(ring);
    }

    [Fact]
    public void Without_a_file_table_registration_gives_no_slot()
    {
        using var file = _directory.CreateFile(4096);
        using var ring = Rings.CreateEnabled(new() { Mask = Refusing(IORING_REGISTER_FILES2) });
        Assert.Contains("registered ring and buffers", Words(ring));
        Assert.Equal(-1, ring.TryRegisterFile(file.Value));
        AssertReads(ring);
    }

    [Fact]
    public void Without_a_buffer_table_registration_gives_no_slot()
    {
        using var memory = MappedMemory.Anonymous(4096);
        using var ring = Rings.CreateEnabled(new() { Mask = Refusing(IORING_REGISTER_BUFFERS2) });
        Assert.Contains("registered ring and files", Words(ring));
        Assert.Equal(-1, ring.TryRegisterBuffer(memory.Address, memory.LengthBytes));
        AssertReads(ring);
    }

    [Fact]
    public void Without_tables_and_a_registered_ring_nothing_is_called_registered()
    {
        using var ring = Rings.CreateEnabled(
            new()
            {
                RegisteredFiles = 0,
                RegisteredBuffers = 0,
                Mask = Refusing(IORING_REGISTER_RING_FDS),
            }
        );
        Assert.DoesNotContain("registered", ring.Describe(), StringComparison.Ordinal);
        AssertReads(ring);
    }

    [Fact]
    public void An_update_that_the_kernel_refuses_gives_no_slot()
    {
        using var file = _directory.CreateFile(4096);
        using var ring = Rings.CreateEnabled(new() { Mask = Refusing(IORING_REGISTER_FILES_UPDATE2) });
        Assert.Equal(-1, ring.TryRegisterFile(file.Value));
    }

    [Fact]
    public void A_kernel_that_cannot_be_asked_supports_no_operation()
    {
        using var ring = Rings.Create(new() { Mask = Refusing(IORING_REGISTER_PROBE) });
        Assert.False(ring.Supports(IORING_OP_READ));
    }

    [Fact]
    public void A_ring_that_cannot_be_enabled_throws_with_the_kernels_reason()
    {
        using var ring = Rings.Create(new() { Mask = Refusing(IORING_REGISTER_ENABLE_RINGS) });
        Assert.Contains("EINVAL", Assert.Throws<IOException>(ring.Enable).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(Errno.EPERM, "EPERM (Operation not permitted)", "kernel.io_uring_disabled")]
    [InlineData(Errno.EACCES, "EACCES", "seccomp")]
    [InlineData(Errno.ENOSYS, "ENOSYS", "CONFIG_IO_URING")]
    [InlineData(Errno.ENOMEM, "ENOMEM", "LimitMEMLOCK=")]
    [InlineData(Errno.EMFILE, "EMFILE", "LimitNOFILE=")]
    [InlineData(Errno.ENFILE, "ENFILE", "LimitNOFILE=")]
    [InlineData(Errno.EIO, "EIO", "another disk engine")]
    public void A_refusal_says_what_the_kernel_said_and_what_to_do(int errno, string said, string advice)
    {
        Assert.False(IoUring.TryCreate(new() { Mask = new() { SetupErrno = errno } }, out var ring, out var refusal));
        Assert.Null(ring);
        Assert.StartsWith($"io_uring_setup: {said}", refusal, StringComparison.Ordinal);
        Assert.Contains(advice, refusal, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', refusal);
    }

    [Fact]
    public void A_kernel_older_than_the_base_flags_is_refused()
    {
        Assert.False(
            IoUring.TryCreate(new() { Mask = new() { SetupFlags = IORING_SETUP_R_DISABLED } }, out _, out var refusal)
        );
        Assert.Contains("EINVAL", refusal, StringComparison.Ordinal);
        Assert.Contains("Linux 5.11", refusal, StringComparison.Ordinal);
    }

    [Fact]
    public void No_entries_at_all_are_refused_by_the_kernel()
    {
        Assert.False(IoUring.TryCreate(new() { SubmissionEntries = 0 }, out _, out var refusal));
        Assert.Contains("EINVAL", refusal, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(IORING_FEAT_EXT_ARG)]
    [InlineData(IORING_FEAT_NODROP)]
    [InlineData(IORING_FEAT_SINGLE_MMAP)]
    public void A_kernel_without_a_needed_feature_is_refused(uint feature)
    {
        Assert.False(IoUring.TryCreate(new() { Mask = new() { Features = feature } }, out _, out var refusal));
        Assert.Contains($"0x{feature:x}", refusal, StringComparison.Ordinal);
    }

    [Fact]
    public void Memory_that_cannot_be_mapped_is_a_refusal()
    {
        // An eventfd cannot be mapped: ENODEV.
        using var notARing = new FileDescriptor(Libc.Eventfd(0));
        io_uring_params parameters = new() { sq_entries = 1, cq_entries = 2 };
        Assert.False(IoUring.TryMap(notARing, parameters, out _, out _, out var refusal));
        Assert.Contains("ENODEV", refusal, StringComparison.Ordinal);
    }

    [Fact]
    public void Sizes_beyond_the_kernels_limit_are_clamped()
    {
        using var ring = Rings.CreateEnabled(new() { SubmissionEntries = 1 << 20, CompletionEntries = 1 << 20 });
        Assert.Equal((32768u, 65536u), (ring.SubmissionEntries, ring.CompletionEntries));
        AssertReads(ring);
    }

    static KernelMask Refusing(uint opcode) => new() { RegisterOpcodes = 1UL << (int)opcode };
}
