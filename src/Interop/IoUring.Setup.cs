using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using static Blkring.Interop.IoUringAbi;

namespace Blkring.Interop;

// Creation and what the kernel grants, enabling, disposal.
public sealed unsafe partial class IoUring
{
    // Older than IORING_FEAT_EXT_ARG (Linux 5.11), which is required, so these never have to be dropped: CQSIZE 5.5,
    // CLAMP 5.6, R_DISABLED 5.10.
    const uint BaseSetupFlags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED;
    const uint RequiredFeatures = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;

    // The index of a ring descriptor that is not registered.
    const int NotRegistered = -1;

    // The offset for IORING_REGISTER_RING_FDS that lets the kernel choose the index.
    const uint AnyRingIndex = uint.MaxValue;

    OpcodeSet _supported;
    int _registeredRing = NotRegistered;
    int _registeredRingThread;
    bool _enabled;
    bool _restricted;
    readonly IReadOnlyList<byte>? _operations;

    [InlineArray(256)]
    struct OpcodeSet
    {
        bool _first;
    }

    /// <summary>
    /// Creates a ring with those of the options that the kernel grants. It is still disabled: see <see cref="Enable"/>.
    /// </summary>
    /// <param name="ring">The ring, owned by the caller.</param>
    /// <param name="refusal">If the result is false, one line with the error and what to do; otherwise empty.</param>
    public static bool TryCreate(IoUringOptions options, [NotNullWhen(true)] out IoUring? ring, out string refusal)
    {
        ArgumentNullException.ThrowIfNull(options);
        ring = null;
        var result = Setup(options, out var parameters);
        if (result < 0)
        {
            refusal = ExplainRefusal(result);
            return false;
        }
        var fd = new FileDescriptor(result);
        var missing = RequiredFeatures & ~parameters.features;
        if (missing != 0)
        {
            fd.Dispose();
            refusal =
                $"io_uring_setup: features 0x{missing:x} are missing: "
                + "Linux 5.11 or later is needed; use another disk engine";
            return false;
        }
        if (!TryMap(fd, parameters, out var rings, out var sqes, out refusal))
        {
            fd.Dispose();
            return false;
        }
        ring = new IoUring(options, fd, parameters, rings, sqes);
        return true;
    }

    // Newest flag first: a kernel that lacks one flag lacks all newer ones, and answers EINVAL without saying which.
    static int Setup(IoUringOptions options, out io_uring_params parameters)
    {
        ReadOnlySpan<uint> newestFirst =
        [
            IORING_SETUP_NO_SQARRAY, // 6.6: one array less to read per entry
            IORING_SETUP_DEFER_TASKRUN, // 6.1
            IORING_SETUP_SINGLE_ISSUER, // 6.0
            IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, // 5.19: the flag tells when an enter is due
            IORING_SETUP_SUBMIT_ALL, // 5.18: a bad entry does not stop the batch
        ];
        var wanted =
            BaseSetupFlags
            | IORING_SETUP_SUBMIT_ALL
            | IORING_SETUP_COOP_TASKRUN
            | IORING_SETUP_TASKRUN_FLAG
            | IORING_SETUP_NO_SQARRAY;
        if (options.SingleIssuer)
            wanted |= IORING_SETUP_SINGLE_ISSUER;
        if (options.SingleIssuer && options.DeferTaskRun)
            wanted |= IORING_SETUP_DEFER_TASKRUN;
        var result = TrySetup(options, wanted, out parameters);
        foreach (var flags in newestFirst)
        {
            if (result != -Errno.EINVAL)
                break;
            wanted &= ~flags;
            result = TrySetup(options, wanted, out parameters);
        }
        return result;
    }

    static int TrySetup(IoUringOptions options, uint flags, out io_uring_params parameters)
    {
        parameters = default;
        // COOP_TASKRUN and DEFER_TASKRUN are alternatives; TASKRUN_FLAG goes with either.
        parameters.flags = (flags & IORING_SETUP_DEFER_TASKRUN) != 0 ? flags & ~IORING_SETUP_COOP_TASKRUN : flags;
        parameters.cq_entries = Math.Max(options.CompletionEntries, options.SubmissionEntries);
        if (options.Mask.SetupErrno != 0)
            return -options.Mask.SetupErrno;
        if ((parameters.flags & options.Mask.SetupFlags) != 0)
            return -Errno.EINVAL;
        int result;
        fixed (io_uring_params* pinned = &parameters)
            result = (int)Libc.Syscall(__NR_io_uring_setup, (nint)options.SubmissionEntries, (nint)pinned);
        parameters.features &= ~options.Mask.Features;
        return result;
    }

    static string ExplainRefusal(int result) =>
        $"io_uring_setup: {Errno.Describe(result)}: "
        + -result switch
        {
            Errno.EPERM or Errno.EACCES => "blocked by seccomp, by a security module or by kernel.io_uring_disabled; "
                + "allow io_uring to this process (sysctl kernel.io_uring_disabled=0) or use another disk engine",
            Errno.ENOSYS => "the kernel has no io_uring, or seccomp hides it; "
                + "use a kernel with CONFIG_IO_URING or another disk engine",
            Errno.ENOMEM =>
                "not enough memory, or RLIMIT_MEMLOCK is too low; raise LimitMEMLOCK= or ask for fewer entries",
            Errno.EMFILE or Errno.ENFILE => "too many open files; raise LimitNOFILE= or fs.file-max",
            Errno.EINVAL =>
                "the kernel refuses even the oldest flags; Linux 5.11 or later and at least one entry are needed",
            _ => "use another disk engine",
        };

    internal static bool TryMap(
        FileDescriptor fd,
        in io_uring_params parameters,
        [NotNullWhen(true)] out MappedMemory? rings,
        [NotNullWhen(true)] out MappedMemory? sqes,
        out string refusal
    )
    {
        var sqBytes = parameters.sq_off.array + parameters.sq_entries * sizeof(uint);
        var cqBytes = parameters.cq_off.cqes + parameters.cq_entries * (uint)sizeof(io_uring_cqe);
        (rings, sqes, refusal) = (null, null, "");
        try
        {
            // IORING_FEAT_SINGLE_MMAP: both rings are in one mapping, as long as the longer of the two.
            rings = MappedMemory.FromFile(
                fd.Value,
                (long)IORING_OFF_SQ_RING,
                Math.Max(sqBytes, cqBytes),
                writable: true,
                shared: true
            );
            sqes = MappedMemory.FromFile(
                fd.Value,
                (long)IORING_OFF_SQES,
                parameters.sq_entries * (uint)sizeof(io_uring_sqe),
                writable: true,
                shared: true
            );
            return true;
        }
        catch (IOException e)
        {
            rings?.Dispose();
            refusal = $"io_uring: {e.Message}; ask for fewer entries";
            return false;
        }
    }

    IoUring(
        IoUringOptions options,
        FileDescriptor fd,
        in io_uring_params parameters,
        MappedMemory rings,
        MappedMemory sqeMemory
    )
    {
        (_fd, _rings, _sqeMemory, _mask, _setupFlags) = (fd, rings, sqeMemory, options.Mask, parameters.flags);
        _operations = options.Operations;
        _enterFd = fd.Value;
        // Safe: the offsets come from the kernel and are within the mapping, whose length was computed from them.
        _sqHead = (uint*)(rings.Address + parameters.sq_off.head);
        _sqTail = (uint*)(rings.Address + parameters.sq_off.tail);
        _sqFlags = (uint*)(rings.Address + parameters.sq_off.flags);
        _cqHead = (uint*)(rings.Address + parameters.cq_off.head);
        _cqTail = (uint*)(rings.Address + parameters.cq_off.tail);
        _cqOverflow = (uint*)(rings.Address + parameters.cq_off.overflow);
        _cqes = (io_uring_cqe*)(rings.Address + parameters.cq_off.cqes);
        _sqes = (io_uring_sqe*)sqeMemory.Address;
        (_sqEntries, _cqEntries) = (parameters.sq_entries, parameters.cq_entries);
        (_sqMask, _cqMask) = (_sqEntries - 1, _cqEntries - 1);
        if ((_setupFlags & IORING_SETUP_NO_SQARRAY) == 0)
            FillSubmissionArray((uint*)(rings.Address + parameters.sq_off.array), _sqEntries);
        ProbeOpcodes();
        _files = CreateTable(IORING_REGISTER_FILES2, options.RegisteredFiles);
        _buffers = CreateTable(IORING_REGISTER_BUFFERS2, options.RegisteredBuffers);
    }

    // Entry n is always in slot n, so the indirection is written once.
    static void FillSubmissionArray(uint* array, uint entries)
    {
        for (uint i = 0; i < entries; i++)
            array[i] = i;
    }

    void ProbeOpcodes()
    {
        const int operations = 256;
        var length = sizeof(io_uring_probe) + operations * sizeof(io_uring_probe_op);
        // The kernel refuses a probe that is not zeroed.
        var bytes = stackalloc byte[length];
        new Span<byte>(bytes, length).Clear();
        if (Register(IORING_REGISTER_PROBE, bytes, operations) < 0)
            return;
        var probe = (io_uring_probe*)bytes;
        var entry = (io_uring_probe_op*)(probe + 1);
        for (var i = 0; i < probe->ops_len; i++, entry++)
            _supported[entry->op] = (entry->flags & IO_URING_OP_SUPPORTED) != 0;
    }

    /// <summary>Whether the kernel supports the operation (IORING_OP_*).</summary>
    public bool Supports(byte opcode) => _supported[opcode];

    /// <summary>
    /// Enables the ring and makes the calling thread its own. That thread's table of registered rings holds 16; if it
    /// is full or missing, the plain descriptor is used.
    /// </summary>
    /// <exception cref="InvalidOperationException">Called twice.</exception>
    /// <exception cref="IOException">The kernel refused.</exception>
    public void Enable()
    {
        if (_enabled)
            throw new InvalidOperationException(
                "the ring is already enabled, and belongs to the thread that enabled it"
            );
        if (_operations is not null)
            _restricted = TryRestrict(_operations);
        var result = Register(IORING_REGISTER_ENABLE_RINGS, null, 0);
        if (result < 0)
            throw Errno.ToException("io_uring_register(IORING_REGISTER_ENABLE_RINGS)", result);
        _enabled = true;
        io_uring_rsrc_update update = new() { offset = AnyRingIndex, data = (ulong)_fd.Value };
        if (Register(IORING_REGISTER_RING_FDS, &update, 1) != 1)
            return;
        _registeredRing = (int)update.offset;
        _registeredRingThread = Libc.Gettid();
        (_enterFd, _enterFlags) = (_registeredRing, IORING_ENTER_REGISTERED_RING);
    }

    // A thread that a guest has taken over can do no more with the ring than what it was made for. Registered files are
    // not required of all operations: see docs/security.md.
    bool TryRestrict(IReadOnlyList<byte> operations)
    {
        ReadOnlySpan<uint> registrations =
        [
            IORING_REGISTER_FILES_UPDATE2,
            IORING_REGISTER_BUFFERS_UPDATE,
            IORING_REGISTER_IOWQ_MAX_WORKERS,
            IORING_REGISTER_RING_FDS,
            IORING_UNREGISTER_RING_FDS,
        ];
        var count = 0;
        var restrictions = stackalloc io_uring_restriction[registrations.Length + operations.Count + 1];
        foreach (var registration in registrations)
            Add(IORING_RESTRICTION_REGISTER_OP, (byte)registration);
        foreach (var operation in operations)
            Add(IORING_RESTRICTION_SQE_OP, operation);
        Add(IORING_RESTRICTION_SQE_FLAGS_ALLOWED, IOSQE_FIXED_FILE);
        return Register(IORING_REGISTER_RESTRICTIONS, restrictions, (uint)count) >= 0;

        void Add(ushort kind, byte value) =>
            restrictions[count++] = new io_uring_restriction { opcode = kind, register_op = value };
    }

    /// <summary>
    /// What the kernel has granted, in one line: <c>io_uring: 1024/4096 entries, single_issuer, defer_taskrun,
    /// registered ring, files and buffers</c>.
    /// </summary>
    public string Describe()
    {
        List<string> parts = [$"io_uring: {_sqEntries}/{_cqEntries} entries"];
        AddIf((_setupFlags & IORING_SETUP_SINGLE_ISSUER) != 0, "single_issuer");
        AddIf(DefersTaskRun, "defer_taskrun");
        AddIf((_setupFlags & IORING_SETUP_COOP_TASKRUN) != 0, "coop_taskrun");
        AddIf((_setupFlags & IORING_SETUP_SUBMIT_ALL) != 0, "submit_all");
        AddIf((_setupFlags & IORING_SETUP_NO_SQARRAY) != 0, "no_sqarray");
        AddIf(_restricted, "restricted");
        List<string> registered = [];
        if (_registeredRing != NotRegistered)
            registered.Add("ring");
        if (_files.Length > 0)
            registered.Add("files");
        if (_buffers.Length > 0)
            registered.Add("buffers");
        AddIf(
            registered.Count > 0,
            "registered "
                + string.Join(", ", registered.SkipLast(1))
                + (registered.Count > 1 ? " and " : "")
                + registered.LastOrDefault()
        );
        return string.Join(", ", parts);

        void AddIf(bool granted, string part)
        {
            if (granted)
                parts.Add(part);
        }
    }

    /// <summary>
    /// Sets how many worker threads the calling thread's requests may have at a time for what waits within the kernel:
    /// I/O on regular files and block devices that cannot be started without waiting, and every fsync and fallocate.
    /// The kernel's own limit is the number of entries, or four per CPU if that is less. It creates a worker only when
    /// all others wait. Linux 5.15.
    /// </summary>
    /// <returns>The limit before, or -errno: -EINVAL on an older kernel.</returns>
    public int LimitBoundedWorkers(uint most)
    {
        // The second is the limit for everything else; 0 leaves it as it is.
        var counts = stackalloc uint[] { most, 0 };
        var result = Register(IORING_REGISTER_IOWQ_MAX_WORKERS, counts, 2);
        return result < 0 ? result : (int)counts[0];
    }

    // Result or -errno. For set-up and control only, so it uses the plain descriptor.
    int Register(uint opcode, void* argument, uint count) =>
        (_mask.RegisterOpcodes >> (int)opcode & 1) != 0
            ? -Errno.EINVAL
            : (int)Libc.Syscall(__NR_io_uring_register, _fd.Value, (nint)opcode, (nint)argument, (nint)count);

    /// <summary>Idempotent. See the class for the thread that should call it, and when.</summary>
    public void Dispose()
    {
        if (_fd.IsClosed)
            return;
        // The table belongs to the thread that registered: another thread would unregister its own ring of that index.
        if (_registeredRing != NotRegistered && _registeredRingThread == Libc.Gettid())
        {
            io_uring_rsrc_update update = new() { offset = (uint)_registeredRing };
            Register(IORING_UNREGISTER_RING_FDS, &update, 1);
        }
        // A later call fails with EBADF instead of reaching another ring with the same index.
        (_enterFd, _enterFlags, _registeredRing) = (-1, 0, NotRegistered);
        _sqeMemory.Dispose();
        _rings.Dispose();
        _fd.Dispose();
    }
}
