using System.Diagnostics;
using System.Runtime.CompilerServices;
using static Blkring.Interop.IoUringAbi;

namespace Blkring.Interop;

/// <summary>
/// One io_uring(7) instance over its three system calls. Not thread-safe.
/// <para>
/// Threads: the ring is created disabled. Until <see cref="Enable"/>, any one thread may register files and buffers.
/// The thread that calls <see cref="Enable"/> becomes the ring's own: from then on, only that thread may call anything
/// here, registration included, because a single-issuer ring answers EEXIST to any other.
/// </para>
/// <para>
/// Disposal: if another than the ring's own thread disposes it, the kernel keeps the ring until its own thread ends,
/// because the registered ring descriptor belongs to that thread. All requests should have completed before: the kernel
/// cancels others some time after the close, and uses their memory until then.
/// </para>
/// </summary>
public sealed unsafe partial class IoUring : IDisposable
{
    // The kernel checks the size of its io_uring_getevents_arg.
    const nint GeteventsArgBytes = 24;

    readonly FileDescriptor _fd;
    readonly MappedMemory _rings;
    readonly MappedMemory _sqeMemory;
    readonly uint _setupFlags;
    readonly IoUringOptions.KernelMask _mask;

    // Shared with the kernel: it stores _sqHead, _sqFlags, _cqTail, _cqOverflow; we store _sqTail and _cqHead.
    readonly uint* _sqHead;
    readonly uint* _sqTail;
    readonly uint* _sqFlags;
    readonly uint* _cqHead;
    readonly uint* _cqTail;
    readonly uint* _cqOverflow;
    readonly io_uring_sqe* _sqes;
    readonly io_uring_cqe* _cqes;
    readonly uint _sqEntries;
    readonly uint _sqMask;
    readonly uint _cqEntries;
    readonly uint _cqMask;

    // Entries before this one are prepared; the kernel sees them once Submit stores this to *_sqTail.
    uint _sqPrepared;
    uint _cqConsumed;

    // The argument of io_uring_enter: the plain descriptor, or its index in the thread's table with
    // IORING_ENTER_REGISTERED_RING.
    int _enterFd;
    uint _enterFlags;

    /// <summary>The number of io_uring_enter calls so far.</summary>
    public ulong EnterCount { get; private set; }

    /// <summary>The number of entries of the submission queue.</summary>
    public uint SubmissionEntries => _sqEntries;

    /// <summary>The number of entries of the completion queue.</summary>
    public uint CompletionEntries => _cqEntries;

    /// <summary>The number of entries taken with <see cref="TryGetSqe"/> and not yet consumed by the kernel.</summary>
    public uint PendingSubmissions => _sqPrepared - SubmissionHead;

    // Acquire, pairs with the release store of sq.head in the kernel's io_commit_sqring: a slot is rewritten only after
    // the kernel has read it.
    uint SubmissionHead => Volatile.Read(ref *_sqHead);

    bool DefersTaskRun => (_setupFlags & IORING_SETUP_DEFER_TASKRUN) != 0;

    /// <summary>Takes the next submission entry, zeroed. The kernel sees it at the next submit.</summary>
    /// <returns>Null if the queue is full: submit first.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public io_uring_sqe* TryGetSqe()
    {
        if (PendingSubmissions >= _sqEntries)
            return null;
        var sqe = _sqes + (_sqPrepared++ & _sqMask);
        *sqe = default;
        return sqe;
    }

    /// <summary>
    /// Makes one io_uring_enter call if there is something to do: entries to submit, completions that wait for this
    /// thread (IORING_SQ_TASKRUN), or completions that the kernel holds back because the queue was full. Does not wait.
    /// </summary>
    /// <returns>
    /// The number of entries taken, or -errno with every entry still pending: -EINTR, -EAGAIN and -EBUSY mean to try
    /// again (-EBUSY after taking completions); -EBADFD means that <see cref="Enable"/> was not called.
    /// </returns>
    public int Submit()
    {
        var pending = PublishSubmissions();
        // Relaxed: a flag that is raised just after this read is seen at the next call.
        var kernelAsks = Volatile.Read(ref *_sqFlags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
        if (pending == 0 && kernelAsks == 0)
            return 0;
        // With DEFER_TASKRUN, the kernel posts completions only on request. Completions that overflowed are flushed
        // only on request in any mode.
        var flags = DefersTaskRun || kernelAsks != 0 ? IORING_ENTER_GETEVENTS : 0;
        return Enter(pending, minComplete: 0, flags, argument: null, argumentBytes: 0);
    }

    /// <summary>
    /// Makes one io_uring_enter call: submits everything, then waits until there are enough completions.
    /// </summary>
    /// <param name="minComplete">
    /// The number of completions to wait for, including those already in the queue; at most its number of entries.
    /// </param>
    /// <param name="timeoutNs">Nanoseconds; 0 does not wait; negative waits without limit.</param>
    /// <returns>
    /// The number of entries taken, even if the wait that followed was cut short. Without entries to take: 0, -ETIME
    /// after the timeout, -EINTR after a signal, or another -errno as for <see cref="Submit"/>. There may be
    /// completions whatever the result.
    /// </returns>
    public int SubmitAndWait(uint minComplete, long timeoutNs = -1)
    {
        var pending = PublishSubmissions();
        if (timeoutNs < 0)
            return Enter(pending, minComplete, IORING_ENTER_GETEVENTS, argument: null, argumentBytes: 0);
        __kernel_timespec time;
        (time.tv_sec, time.tv_nsec) = Math.DivRem(timeoutNs, 1_000_000_000);
        // Safe: both are on this stack frame, and the kernel copies them before it waits.
        io_uring_getevents_arg argument = default;
        argument.ts = (ulong)&time;
        return Enter(pending, minComplete, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument, GeteventsArgBytes);
    }

    uint PublishSubmissions()
    {
        // Release, pairs with the acquire load of sq.tail in the kernel's io_sqring_entries: the entries are complete
        // before the kernel counts them.
        Volatile.Write(ref *_sqTail, _sqPrepared);
        return PendingSubmissions;
    }

    int Enter(uint toSubmit, uint minComplete, uint flags, io_uring_getevents_arg* argument, nint argumentBytes)
    {
        EnterCount++;
        return (int)
            Libc.Syscall(
                __NR_io_uring_enter,
                _enterFd,
                (nint)toSubmit,
                (nint)minComplete,
                (nint)(flags | _enterFlags),
                (nint)argument,
                argumentBytes
            );
    }

    /// <summary>The index of the oldest completion not yet released. Indices wrap around at 32 bits.</summary>
    public uint CompletionHead => _cqConsumed;

    /// <summary>
    /// The index after the newest completion: entries from <see cref="CompletionHead"/> up to here may be read.
    /// </summary>
    // Acquire, pairs with the release store of cq.tail in the kernel's io_commit_cqring: counted entries are complete.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public uint LoadCompletionTail() => Volatile.Read(ref *_cqTail);

    /// <summary>The entry, in the shared memory: valid until it is released.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public io_uring_cqe* CompletionAt(uint index) => _cqes + (index & _cqMask);

    /// <summary>Releases the entries before <paramref name="head"/> to the kernel.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void ReleaseCompletions(uint head)
    {
        Debug.Assert(head - _cqConsumed <= LoadCompletionTail() - _cqConsumed, "released past the tail");
        _cqConsumed = head;
        // Release, pairs with the kernel's load of cq.head before it fills an entry (io_cqe_cache_refill): our reads of
        // an entry come before it is refilled.
        Volatile.Write(ref *_cqHead, head);
    }

    /// <summary>
    /// True while the kernel holds completions back because the queue is full: release some, then submit. Stays true
    /// after the kernel has lost one because it had no memory (cq.overflow): some requests then never complete.
    /// </summary>
    public bool CompletionsOverflowed =>
        (Volatile.Read(ref *_sqFlags) & IORING_SQ_CQ_OVERFLOW) != 0 || Volatile.Read(ref *_cqOverflow) != 0;
}
