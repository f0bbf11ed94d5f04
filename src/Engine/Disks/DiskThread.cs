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
/// instructions at a time, never during an operation.
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

    // Guards everything below, and the ports.
    private readonly object _gate = new();
    private readonly List<Port> _ports = [];
    private Thread? _thread;

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
        Port port = new(this, attachment.MaxOperations, attachment.Wake);
        lock (_gate)
            _ports.Add(port);
        return port;
    }

    /// <summary>Performs the oldest operation of the next port that has one, on the calling thread.</summary>
    /// <returns>False if there was none.</returns>
    internal bool RunOnce()
    {
        Port port;
        DiskOperation operation;
        lock (_gate)
        {
            if (!TryTake(out port, out operation))
                return false;
        }
        Perform(port, in operation);
        return true;
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _ending = true;
            Monitor.Pulse(_gate);
        }
        _thread?.Join(EndTimeoutMs);
    }

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
        lock (_gate)
        {
            while (!_ending)
            {
                if (TryTake(out port, out operation))
                    return true;
                Monitor.Wait(_gate);
            }
        }
        (port, operation) = (null!, default);
        return false;
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
            lock (thread._gate)
            {
                if (_waitingCount + _doneCount >= capacity || thread._ending)
                    return -Errno.EAGAIN;
                _waiting[(_firstWaiting + _waitingCount++) % capacity] = operation;
                if (thread._thread is null && thread._ownThread)
                    thread.StartThread();
                Monitor.Pulse(thread._gate);
            }
            return IDiskIo.Pending;
        }

        public int Reap(Span<DiskCompletion> completions)
        {
            // Every pass of every queue comes by here, so the common case takes no lock. A completion that is missed
            // now is found later: its wake-up is still to come.
            if (Volatile.Read(ref _doneCount) == 0)
                return 0;
            lock (thread._gate)
            {
                int count = Math.Min(_doneCount, completions.Length);
                for (int i = 0; i < count; i++)
                    completions[i] = _done[(_firstDone + i) % capacity];
                _firstDone = (_firstDone + count) % capacity;
                _doneCount -= count;
                return count;
            }
        }

        /// <summary>Called when no operation of the queue is under way; no wake-up comes afterwards.</summary>
        public void Close()
        {
            lock (thread._gate)
                thread._ports.Remove(this);
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
            lock (thread._gate)
            {
                _done[(_firstDone + _doneCount) % capacity] = new DiskCompletion { Tag = tag, Result = result };
                _doneCount++;
                wake?.Invoke();
            }
        }
    }
}
