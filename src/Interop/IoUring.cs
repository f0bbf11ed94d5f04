using System.Diagnostics;
using System.Runtime.CompilerServices;
using static Blkring.Interop.IoUringAbi;

namespace Blkring.Interop;

/// <summary>
/// One io_uring(7) instance over its three system calls. Not thread-safe.
/// <para>
/// Threads: the ring is created disabled, so until <see cref="Enable"/> any one thread may register files and buffers.
/// The thread that calls <see cref="Enable"/> becomes the ring's own: from then on it alone calls everything here,
/// registration included, since a single-issuer ring answers EEXIST to any other.
/// </para>
/// <para>
/// Disposal: best by the ring's own thread. By another, the kernel keeps the ring until its own thread ends, because
/// the registered ring descriptor belongs to that thread. Every request should have completed before: the kernel
/// cancels the others some time after the close, and uses their memory until then.
/// </para>
/// </summary>
public sealed unsafe partial class IoUring : IDisposable
{
    // The kernel's io_uring_getevents_arg is checked by its size.
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

    // Prepared up to here; the kernel sees them once Submit stores this to *_sqTail.
    uint _sqPrepared;
    uint _cqConsumed;

    // What io_uring_enter is given: the plain descriptor, or its index in the thread's table with
    // IORING_ENTER_REGISTERED_RING.
    int _enterFd;
    uint _enterFlags;

    /// <summary>io_uring_enter calls made so far.</summary>
    public ulong EnterCount { get; private set; }

    /// <summary>Entries of the submission queue.</summary>
    public uint SubmissionEntries => _sqEntries;

    /// <summary>Entries of the completion queue.</summary>
    public uint CompletionEntries => _cqEntries;

    /// <summary>Entries taken with <see cref="TryGetSqe"/> that the kernel has not consumed yet.</summary>
    public uint PendingSubmissions => _sqPrepared - SubmissionHead;

    // Acquire, pairs with the release store of sq.head in the kernel's io_commit_sqring: a slot is rewritten only once
    // it has been read.
    uint SubmissionHead => Volatile.Read(ref *_sqHead);

    bool DefersTaskRun => (_setupFlags & IORING_SETUP_DEFER_TASKRUN) != 0;

    /// <summary>The next submission entry, zeroed; the kernel sees it with the next submit.</summary>
    /// <returns>Null when the queue is full: submit first.</returns>
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
    /// One io_uring_enter when there is something to do, none otherwise: entries to submit, completions that wait for
    /// this thread (IORING_SQ_TASKRUN), or completions held back because the queue was full. Does not wait.
    /// </summary>
    /// <returns>
    /// Entries taken, or -errno with every entry still pending: -EINTR, -EAGAIN and -EBUSY mean try again, the last
    /// after taking completions; -EBADFD that <see cref="Enable"/> was not called.
    /// </returns>
    public int Submit()
    {
        var pending = PublishSubmissions();
        // Relaxed: a flag raised just after this read is seen on the next turn.
        var kernelAsks = Volatile.Read(ref *_sqFlags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
        if (pending == 0 && kernelAsks == 0)
            return 0;
        // With DEFER_TASKRUN completions are posted only on request. Without it too, those that overflowed need one to
        // be flushed.
        var flags = DefersTaskRun || kernelAsks != 0 ? IORING_ENTER_GETEVENTS : 0;
        return Enter(pending, minComplete: 0, flags, argument: null, argumentBytes: 0);
    }

    /// <summary>One io_uring_enter: submits everything, then waits until enough completions are in the queue.</summary>
    /// <param name="minComplete">
    /// Completions to wait for, counted with those already in the queue; at most its entries.
    /// </param>
    /// <param name="timeoutNs">Nanoseconds; 0 does not wait; negative waits for ever.</param>
    /// <returns>
    /// Entries taken, also when the wait that followed was cut short; with none to take 0, -ETIME at the end of the
    /// time, -EINTR on a signal, or another -errno as for <see cref="Submit"/>. Look at the completion queue whatever
    /// the result.
    /// </returns>
    public int SubmitAndWait(uint minComplete, long timeoutNs = -1)
    {
        var pending = PublishSubmissions();
        if (timeoutNs < 0)
            return Enter(pending, minComplete, IORING_ENTER_GETEVENTS, argument: null, argumentBytes: 0);
        __kernel_timespec time;
        (time.tv_sec, time.tv_nsec) = Math.DivRem(timeoutNs, 1_000_000_000);
        // On this stack frame, which outlives the call: the kernel copies both before it waits.
        io_uring_getevents_arg argument = default;
        argument.ts = (ulong)&time;
        return Enter(pending, minComplete, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument, GeteventsArgBytes);
    }

    uint PublishSubmissions()
    {
        // Release, pairs with the acquire load of sq.tail in the kernel's io_sqring_entries: entries are complete
        // before they are counted.
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

    /// <summary>Index of the oldest completion not released yet; indices run freely over 32 bits.</summary>
    public uint CompletionHead => _cqConsumed;

    /// <summary>
    /// Index past the newest completion: entries from <see cref="CompletionHead"/> up to here may be read.
    /// </summary>
    // Acquire, pairs with the release store of cq.tail in the kernel's io_commit_cqring: what is counted is complete.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public uint LoadCompletionTail() => Volatile.Read(ref *_cqTail);

    /// <summary>The entry itself, in the shared memory: valid until released.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public io_uring_cqe* CompletionAt(uint index) => _cqes + (index & _cqMask);

    /// <summary>Gives the entries before <paramref name="head"/> back to the kernel.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void ReleaseCompletions(uint head)
    {
        Debug.Assert(head - _cqConsumed <= LoadCompletionTail() - _cqConsumed, "released past the tail");
        _cqConsumed = head;
        // Release, pairs with the kernel's load of cq.head before it fills an entry (io_cqe_cache_refill): we have read
        // it before it is refilled.
        Volatile.Write(ref *_cqHead, head);
    }

    /// <summary>
    /// True while the kernel holds completions back because the queue is full: release some, then submit. Stays true
    /// once it has lost one, for want of memory (cq.overflow), after which requests in flight can no longer be
    /// accounted for.
    /// </summary>
    public bool CompletionsOverflowed =>
        (Volatile.Read(ref *_sqFlags) & IORING_SQ_CQ_OVERFLOW) != 0 || Volatile.Read(ref *_cqOverflow) != 0;
}
