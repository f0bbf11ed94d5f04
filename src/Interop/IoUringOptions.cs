namespace Blkring.Interop;

/// <summary>
/// What to ask of the kernel. What the kernel lacks is dropped; <see cref="IoUring.Describe"/> shows what it granted.
/// </summary>
public sealed class IoUringOptions
{
    /// <summary>The size of the submission queue, rounded up to a power of two; at most 32768.</summary>
    public uint SubmissionEntries { get; init; } = 1024;

    /// <summary>
    /// The size of the completion queue, rounded up to a power of two; at least the submission entries, at most 65536.
    /// </summary>
    public uint CompletionEntries { get; init; } = 4096;

    /// <summary>
    /// Whether only the thread that calls <see cref="IoUring.Enable"/> submits and registers (Linux 6.0).
    /// </summary>
    public bool SingleIssuer { get; init; } = true;

    /// <summary>
    /// Whether completions are posted only when that thread enters the kernel for them, instead of interrupting it
    /// (Linux 6.1; needs SingleIssuer).
    /// </summary>
    public bool DeferTaskRun { get; init; } = true;

    /// <summary>
    /// The only operations (IORING_OP_*) that the enabled ring carries out (Linux 5.10); any other is answered with
    /// -EACCES. Null for all of the kernel's.
    /// </summary>
    public IReadOnlyList<byte>? Operations { get; init; }

    /// <summary>The slots of the file table (Linux 5.19); 0 for no table. Bounded by RLIMIT_NOFILE.</summary>
    public uint RegisteredFiles { get; init; } = 64;

    /// <summary>The slots of the buffer table (Linux 5.19); 0 for no table. At most 16384.</summary>
    public uint RegisteredBuffers { get; init; } = 64;

    /// <summary>Simulates an older or a stricter kernel than the running one, for the tests of each fallback.</summary>
    internal KernelMask Mask { get; init; } = new();

    /// <summary>What the simulated kernel refuses, in set-up and registration.</summary>
    internal sealed class KernelMask
    {
        /// <summary>Any of these flags makes io_uring_setup fail with EINVAL, as an unknown flag does.</summary>
        public uint SetupFlags { get; init; }

        /// <summary>io_uring_setup always fails with this errno, unless it is 0.</summary>
        public int SetupErrno { get; init; }

        /// <summary>The bits to remove from io_uring_params.features.</summary>
        public uint Features { get; init; }

        /// <summary>Bit n makes io_uring_register opcode n fail with EINVAL, as an unknown opcode does.</summary>
        public ulong RegisterOpcodes { get; init; }
    }
}
