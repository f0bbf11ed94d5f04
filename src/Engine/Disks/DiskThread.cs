using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>Performs one operation and waits for it; the result is as that of <see cref="IDiskIo.Start"/>.</summary>
internal delegate int DiskCall(int descriptor, in DiskOperation operation);

/// <summary>
/// A thread for what a disk can do only by waiting. An operation can take seconds, or never end, and a reactor's thread
/// has other disks to serve. The thread starts with the first operation, and each disk has its own, so that a store
/// that hangs delays no other disk: one for discards (BLKDISCARD before Linux 6.12), which may be long, and one for
/// transfers and flushes where io_uring is refused.
/// </summary>
/// <remarks>
/// Queues hand operations over and fetch completions through a <see cref="Port"/>. The lock is held for a few
/// instructions at a time, never during an operation. It is a spin lock, and the thread sleeps in an eventfd: the
/// runtime allocates when two threads first meet at a monitor.
/// </remarks>
public sealed class DiskThread : IDisposable
{
    /// <summary>Closing the disk does not wait longer for an operation that the store does not finish.</summary>
    private const int EndTimeoutMs = 1000;
    private const int StackBytes = 256 * 1024;

    private readonly FileDescriptor _file;
    private readonly DiskCall _call;
    private readonly bool _ownThread;
    private readonly LostWrites? _lost;

    // Guards everything below, and the ports. A struct with state: not readonly.
    private SpinLock _gate = new(enableThreadOwnerTracking: false);
    private readonly List<Port> _ports = [];
    private Thread? _thread;

    // Made with the first port. The thread sleeps in it when there is nothing to do.
    private EventFd? _work;
    private bool _sleeps;

    // The place in _ports of the port whose turn it is; may be the place after the last.
    private int _turn;
    private bool _ending;

    /// <param name="lost">Where a failed flush is noted, before another queue's flush can succeed.</param>
    public DiskThread(FileDescriptor file, LostWrites? lost = null)
        : this(file, Perform) => _lost = lost;

    /// <param name="call">Stands for the kernel, in tests and simulations.</param>
    /// <param name="ownThread">False starts no thread: the owner calls <see cref="RunOnce"/>.</param>
    internal DiskThread(FileDescriptor file, DiskCall call, bool ownThread = true) =>
        (_file, _call, _ownThread) = (file, call, ownThread);

    /// <summary>Opens a port for one queue, on the thread that serves it.</summary>
    internal Port Open(in DiskAttachment attachment)
    {
        EventFd work = new(blocking: true);
        Port port = new(this, attachment.MaxOperations, attachment.Wake);
        // Made before the lock is taken: it needs a system call and may fail.
        Enter();
        _ports.Add(port);
        EventFd? spare = _work is null ? null : work;
        _work ??= work;
        Exit();
        spare?.Dispose();
        return port;
    }

    /// <summary>Performs the oldest operation of the next port that has one, on the calling thread.</summary>
    /// <returns>False if there was none.</returns>
    internal bool RunOnce()
    {
        Enter();
        bool taken = TryTake(out Port port, out DiskOperation operation);
        Exit();
        if (taken)
            Perform(port, in operation);
        return taken;
    }

    public void Dispose()
    {
        Enter();
        _ending = true;
        Exit();
        _work?.Signal();
        // A thread that hangs in an operation still needs it afterwards.
        if (_thread is null || _thread.Join(EndTimeoutMs))
            _work?.Dispose();
    }

    private void Enter()
    {
        bool taken = false;
        _gate.Enter(ref taken);
    }

    private void Exit() => _gate.Exit(useMemoryBarrier: true);

    /// <summary>Performs an operation by the system call for it.</summary>
    internal static unsafe int Perform(int descriptor, in DiskOperation operation) =>
        operation.Kind switch
        {
            DiskOperationKind.Read when operation.VectorCount > 0 => (int)
                Libc.Preadv(descriptor, operation.Vectors, operation.VectorCount, operation.OffsetBytes),
            DiskOperationKind.Write when operation.VectorCount > 0 => (int)
                Libc.Pwritev(descriptor, operation.Vectors, operation.VectorCount, operation.OffsetBytes),
            DiskOperationKind.Read => (int)
                Libc.Pread(descriptor, operation.Buffer, (nuint)operation.LengthBytes, operation.OffsetBytes),
            DiskOperationKind.Write => (int)
                Libc.Pwrite(descriptor, operation.Buffer, (nuint)operation.LengthBytes, operation.OffsetBytes),
            DiskOperationKind.Flush => Libc.Fdatasync(descriptor),
            _ => Discard(descriptor, in operation),
        };

    private static int Discard(int descriptor, in DiskOperation operation) =>
        operation.DiscardMethod switch
        {
            DiscardMethod.PunchHole => Libc.Fallocate(
                descriptor,
                Libc.FALLOC_FL_PUNCH_HOLE | Libc.FALLOC_FL_KEEP_SIZE,
                operation.OffsetBytes,
                operation.LengthBytes
            ),
            DiscardMethod.Ioctl => Libc.IoctlDiscard(descriptor, operation.OffsetBytes, operation.LengthBytes),
            _ => -Errno.EOPNOTSUPP,
        };

    private void Perform(Port port, in DiskOperation operation)
    {
        int result = _call(_file.Value, in operation);
        if (operation.Kind == DiskOperationKind.Flush && result < 0 && -result is not (Errno.EINTR or Errno.EAGAIN))
            _lost?.Note(-result);
        port.Complete(operation.Tag, result);
    }

    /// <summary>
    /// Called once, on a reactor's thread: the only allocation after the queues were attached.
    /// </summary>
    private void StartThread()
    {
        _thread = new Thread(Run, StackBytes) { Name = "blkring-disk", IsBackground = true };
        _thread.Start();
    }

    private void Run()
    {
        // The disk may be closed during a call: until the call has returned, its descriptor's number must not be given
        // to another file.
        bool held = false;
        _file.DangerousAddRef(ref held);
        try
        {
            while (WaitForOperation(out Port port, out DiskOperation operation))
                Perform(port, in operation);
        }
        finally
        {
            _file.DangerousRelease();
        }
    }

    /// <returns>False when the disk is being closed.</returns>
    private bool WaitForOperation(out Port port, out DiskOperation operation)
    {
        while (true)
        {
            Enter();
            bool ends = _ending,
                taken = TryTake(out port, out operation) && !ends;
            _sleeps = !ends && !taken;
            Exit();
            if (ends || taken)
                return taken;
            _work!.TryConsume();
        }
    }

    /// <summary>Takes an operation, from the ports in turn. The caller holds the lock.</summary>
    private bool TryTake(out Port port, out DiskOperation operation)
    {
        for (int i = 0; i < _ports.Count; i++)
        {
            // Not a count of all turns so far: that would be negative one day, and so would its remainder.
            if (_turn >= _ports.Count)
                _turn = 0;
            port = _ports[_turn++];
            if (port.TryTake(out operation))
                return true;
        }
        (port, operation) = (null!, default);
        return false;
    }

    /// <summary>One queue's operations and completions.</summary>
    internal sealed class Port(DiskThread thread, int capacity, Action? wake)
    {
        // A queue never has more operations under way than it announced, so neither array overflows.
        private readonly DiskOperation[] _waiting = new DiskOperation[capacity];
        private readonly DiskCompletion[] _done = new DiskCompletion[capacity];
        private int _firstWaiting,
            _waitingCount,
            _firstDone,
            _doneCount;

        public int Start(in DiskOperation operation)
        {
            thread.Enter();
            bool fits = _waitingCount + _doneCount < capacity && !thread._ending,
                wakes = fits && thread._sleeps,
                starts = fits && thread._thread is null && thread._ownThread;
            if (fits)
                _waiting[(_firstWaiting + _waitingCount++) % capacity] = operation;
            if (wakes)
                thread._sleeps = false;
            if (starts)
                thread.StartThread();
            thread.Exit();
            if (wakes)
                thread._work!.Signal();
            return fits ? IDiskIo.Pending : -Errno.EAGAIN;
        }

        public int Reap(Span<DiskCompletion> completions)
        {
            // Every pass of every queue comes by here, so the common case takes no lock. A completion that is missed
            // now is found later: its wake-up is still to come.
            if (Volatile.Read(ref _doneCount) == 0)
                return 0;
            thread.Enter();
            int count = Math.Min(_doneCount, completions.Length);
            for (int i = 0; i < count; i++)
                completions[i] = _done[(_firstDone + i) % capacity];
            _firstDone = (_firstDone + count) % capacity;
            _doneCount -= count;
            thread.Exit();
            return count;
        }

        /// <summary>Called when no operation of the queue is under way; no wake-up comes afterwards.</summary>
        public void Close()
        {
            thread.Enter();
            thread._ports.Remove(this);
            thread.Exit();
        }

        internal bool TryTake(out DiskOperation operation)
        {
            operation = default;
            if (_waitingCount == 0)
                return false;
            operation = _waiting[_firstWaiting];
            _firstWaiting = (_firstWaiting + 1) % capacity;
            _waitingCount--;
            return true;
        }

        internal void Complete(ulong tag, int result)
        {
            // The wake-up is under the lock as well: otherwise the queue could take the completion, detach and close
            // this port before the wake-up.
            thread.Enter();
            _done[(_firstDone + _doneCount) % capacity] = new DiskCompletion { Tag = tag, Result = result };
            _doneCount++;
            wake?.Invoke();
            thread.Exit();
        }
    }
}
