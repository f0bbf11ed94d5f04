namespace Blkring.Interop;

/// <summary>
/// What is asked of the kernel. Each is a wish: what it lacks is dropped, and <see cref="IoUring.Describe"/> tells.
/// </summary>
public sealed class IoUringOptions
{
    /// <summary>Rounded up to a power of two; the kernel's limit is 32768.</summary>
    public uint SubmissionEntries { get; init; } = 1024;

    /// <summary>Rounded up to a power of two, not below the submission entries; the kernel's limit is 65536.</summary>
    public uint CompletionEntries { get; init; } = 4096;

    /// <summary>Only the thread that calls <see cref="IoUring.Enable"/> submits and registers (Linux 6.0).</summary>
    public bool SingleIssuer { get; init; } = true;

    /// <summary>
    /// Completions are posted only when that thread enters the kernel for them, not by interrupting it (Linux 6.1;
    /// wants SingleIssuer).
    /// </summary>
    public bool DeferTaskRun { get; init; } = true;

    /// <summary>Slots of the file table (Linux 5.19); 0 for none. Bounded by RLIMIT_NOFILE.</summary>
    public uint RegisteredFiles { get; init; } = 64;

    /// <summary>Slots of the buffer table (Linux 5.19); 0 for none. At most 16384.</summary>
    public uint RegisteredBuffers { get; init; } = 64;

    /// <summary>For the tests of each fallback: an older or a stricter kernel than the running one.</summary>
    internal KernelMask Mask { get; init; } = new();

    /// <summary>What the simulated kernel refuses. Consulted in set-up and registration only.</summary>
    internal sealed class KernelMask
    {
        /// <summary>Any of these flags makes io_uring_setup fail with EINVAL, as an unknown flag does.</summary>
        public uint SetupFlags { get; init; }

        /// <summary>io_uring_setup fails with this errno whatever is asked; 0 leaves it alone.</summary>
        public int SetupErrno { get; init; }

        /// <summary>Bits taken away from io_uring_params.features.</summary>
        public uint Features { get; init; }

        /// <summary>Bit n makes io_uring_register opcode n fail with EINVAL, as an unknown opcode does.</summary>
        public ulong RegisterOpcodes { get; init; }
    }
}
