using Blkring.Engine.Memory;
using Blkring.Engine.Queues;
using Blkring.Interop;

namespace Blkring.Engine.Reactors;

/// <summary>
/// One io_uring carries the reactor's disk operations and its waits for event channels, so that a round costs one
/// system call, whatever the number of queues.
/// </summary>
internal sealed unsafe class IoUringWaiter : Waiter
{
    /// <summary>The queue index in tags that belong to the waiter itself.</summary>
    private const ushort OwnTags = ushort.MaxValue;
    private const ulong WakeTag = (ulong)OwnTags << 48;
    private const ulong CancelTag = WakeTag | 1;

    /// <summary>All that disks, event channels and the waiter itself do.</summary>
    public static readonly IReadOnlyList<byte> Operations =
    [
        IoUringAbi.IORING_OP_READ,
        IoUringAbi.IORING_OP_READV,
        IoUringAbi.IORING_OP_READ_FIXED,
        IoUringAbi.IORING_OP_WRITE,
        IoUringAbi.IORING_OP_WRITEV,
        IoUringAbi.IORING_OP_WRITE_FIXED,
        IoUringAbi.IORING_OP_FSYNC,
        IoUringAbi.IORING_OP_FALLOCATE,
        IoUringAbi.IORING_OP_URING_CMD,
        IoUringAbi.IORING_OP_POLL_ADD,
        IoUringAbi.IORING_OP_ASYNC_CANCEL,
    ];

    private readonly IoUring _ring;
    private readonly EventFd _wake = new(blocking: true);
    private readonly VbdQueue?[] _queues;
    private readonly WaitState[] _states;

    // The kernel writes the counter of _wake there when it completes the read; unmanaged, so it never moves.
    private readonly Arena _arena = new(Arena.PageBytes);
    private readonly ulong* _wakeCounter;
    private bool _wakeArmed;
    private int _wanted,
        _queueCount,
        _workers;

    private enum WaitState : byte
    {
        None,

        /// <summary>The submission queue was full: to be armed at the next chance.</summary>
        Wanted,
        Armed,
        Cancelling,
    }

    public IoUringWaiter(IoUring ring, int maxQueues)
    {
        _ring = ring;
        _queues = new VbdQueue?[maxQueues];
        _states = new WaitState[maxQueues];
        _wakeCounter = _arena.Take<ulong>(1);
    }

    public override IoUring Ring => _ring;

    public override string Describe() => _ring.Describe();

    public override void Enter() => _ring.Enable();

    public override void Add(int index, VbdQueue queue)
    {
        _queues[index] = queue;
        _queueCount++;
        RaiseWorkers();
        Arm(index);
    }

    public override bool TryRemove(int index, VbdQueue queue)
    {
        switch (_states[index])
        {
            case WaitState.Armed:
                io_uring_sqe* sqe = NextSqe();
                if (sqe == null)
                    return false;
                sqe->opcode = IoUringAbi.IORING_OP_ASYNC_CANCEL;
                sqe->addr = EventTagOf(index);
                sqe->user_data = CancelTag;
                _states[index] = WaitState.Cancelling;
                return false;
            case WaitState.Cancelling:
                return false;
            default:
                if (_states[index] == WaitState.Wanted)
                    _wanted--;
                _states[index] = WaitState.None;
                _queues[index] = null;
                _queueCount--;
                return true;
        }
    }

    public override void Wait(ReadyQueues ready, bool block, long timeoutNs)
    {
        if (!_wakeArmed)
            ArmWake();
        if (_wanted > 0)
            ArmWanted();
        // A wait fails with EINTR, ETIME or, with too much in flight, EAGAIN or EBUSY. Each means: look at the
        // completions and come back.
        if (block)
            _ring.SubmitAndWait(1, timeoutNs);
        else
            _ring.Submit();

        uint tail = _ring.LoadCompletionTail();
        for (uint head = _ring.CompletionHead; head != tail; )
        {
            ulong tag = _ring.CompletionAt(head)->user_data;
            int index = (int)(tag >> 48);
            if (index == OwnTags)
            {
                if (tag == WakeTag)
                    _wakeArmed = false;
                head++;
            }
            else if (index < _queues.Length && _queues[index] is { } queue)
            {
                head = TakeCompletions(queue, head, tail);
                if (queue.EventWaitCompleted)
                    EventArrived(index, queue);
                ready.Mark(index);
            }
            else
            {
                // A completion for a queue that has left. A queue leaves only when nothing of it is in flight, so this
                // is not expected, and it does no harm.
                head++;
            }
        }
        _ring.ReleaseCompletions(tail);
    }

    public override void Wake() => _wake.Signal();

    /// <summary>
    /// Allows as many workers as all queues can occupy: a disk that hangs then leaves every other disk its own. The
    /// limit is not lowered again, because a worker that has nothing to do ends by itself.
    /// </summary>
    private void RaiseWorkers()
    {
        int most = _queueCount * VbdQueue.MaxWaiting;
        // Before Linux 5.15 the limit cannot be changed: docs/deploy.md.
        if (most > _workers && _ring.LimitBoundedWorkers((uint)most) >= 0)
            _workers = most;
    }

    public override void Dispose()
    {
        _ring.Dispose();
        _wake.Dispose();
        _arena.Dispose();
    }

    private uint TakeCompletions(VbdQueue queue, uint head, uint tail)
    {
        try
        {
            return queue.TakeCompletions(_ring, head, tail);
        }
        catch (Exception bug)
        {
            queue.EndByCrash(bug);
            return queue.TakeCompletions(_ring, queue.CompletionsTaken, tail);
        }
    }

    private void EventArrived(int index, VbdQueue queue)
    {
        queue.EventWaitCompleted = false;
        if (_states[index] == WaitState.Cancelling)
            _states[index] = WaitState.None;
        else
            Arm(index);
    }

    /// <summary>
    /// Prepares the next wait for the queue's event. It goes out with the next submission, without a system call of its
    /// own.
    /// </summary>
    private void Arm(int index)
    {
        io_uring_sqe* sqe = NextSqe();
        if (sqe == null)
        {
            _states[index] = WaitState.Wanted;
            _wanted++;
            return;
        }
        _queues[index]!.PrepareEventWait(sqe);
        _states[index] = WaitState.Armed;
    }

    private void ArmWanted()
    {
        _wanted = 0;
        for (int index = 0; index < _states.Length; index++)
            if (_states[index] == WaitState.Wanted)
                Arm(index);
    }

    private void ArmWake()
    {
        io_uring_sqe* sqe = NextSqe();
        if (sqe == null)
            return;
        sqe->opcode = IoUringAbi.IORING_OP_READ;
        sqe->fd = _wake.Value;
        sqe->addr = (ulong)_wakeCounter;
        sqe->len = sizeof(ulong);
        sqe->user_data = WakeTag;
        _wakeArmed = true;
    }

    private io_uring_sqe* NextSqe()
    {
        io_uring_sqe* sqe = _ring.TryGetSqe();
        if (sqe != null)
            return sqe;
        _ring.Submit();
        return _ring.TryGetSqe();
    }

    private static ulong EventTagOf(int index) => ((ulong)index << 48) | ((ulong)VbdQueue.EventSlot << 32);
}
