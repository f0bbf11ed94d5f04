using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>Performs one discard and waits for it: 0 or a negative errno. Lengths in bytes.</summary>
internal delegate int DiscardCall(int descriptor, DiscardMethod method, long offsetBytes, int lengthBytes);

/// <summary>
/// A thread for the discards of one disk that io_uring cannot do: BLKDISCARD before Linux 6.12, and all of them where
/// io_uring is refused. A discard can take seconds, and a reactor's thread has other disks to serve. The thread starts
/// with the first discard, and each disk has its own, so that a device that hangs delays no other.
/// </summary>
/// <remarks>
/// Queues hand jobs over and fetch completions through a <see cref="Port"/>. The lock is held for a few instructions at
/// a time, never during a discard.
/// </remarks>
public sealed class DiscardThread : IDisposable
{
    /// <summary>Closing the disk does not wait longer for a discard that the device does not finish.</summary>
    private const int EndTimeoutMs = 1000;
    private const int StackBytes = 256 * 1024;

    private readonly FileDescriptor _file;
    private readonly DiscardCall _call;
    private readonly bool _ownThread;

    // Guards everything below, and the ports.
    private readonly object _gate = new();
    private readonly List<Port> _ports = [];
    private Thread? _thread;
    private int _next;
    private bool _ending;

    public DiscardThread(FileDescriptor file)
        : this(file, Perform) { }

    /// <param name="call">Stands for the kernel, in tests and simulations.</param>
    /// <param name="ownThread">False starts no thread: the owner calls <see cref="RunOnce"/>.</param>
    internal DiscardThread(FileDescriptor file, DiscardCall call, bool ownThread = true) =>
        (_file, _call, _ownThread) = (file, call, ownThread);

    /// <summary>Opens a port for one queue, on the thread that serves it.</summary>
    internal Port Open(in DiskAttachment attachment)
    {
        Port port = new(this, attachment.MaxDiscards, attachment.Wake);
        lock (_gate)
            _ports.Add(port);
        return port;
    }

    /// <summary>Performs the oldest job of the next port that has one, on the calling thread.</summary>
    /// <returns>False if there was no job.</returns>
    internal bool RunOnce()
    {
        Port port;
        Job job;
        lock (_gate)
        {
            if (!TryTakeJob(out port, out job))
                return false;
        }
        Perform(port, in job);
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

    private static int Perform(int descriptor, DiscardMethod method, long offsetBytes, int lengthBytes) =>
        method switch
        {
            DiscardMethod.PunchHole => Libc.Fallocate(
                descriptor,
                Libc.FALLOC_FL_PUNCH_HOLE | Libc.FALLOC_FL_KEEP_SIZE,
                offsetBytes,
                lengthBytes
            ),
            DiscardMethod.Ioctl => Libc.IoctlDiscard(descriptor, offsetBytes, lengthBytes),
            _ => -Errno.EOPNOTSUPP,
        };

    private void Perform(Port port, in Job job) =>
        port.Complete(job.Tag, _call(_file.Value, job.Method, job.OffsetBytes, job.LengthBytes));

    /// <summary>
    /// Called once per disk, on a reactor's thread: the only allocation after the queues were attached.
    /// </summary>
    private void StartThread()
    {
        _thread = new Thread(Run, StackBytes) { Name = "blkring-discard", IsBackground = true };
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
            while (WaitForJob(out Port port, out Job job))
                Perform(port, in job);
        }
        finally
        {
            _file.DangerousRelease();
        }
    }

    /// <returns>False when the disk is being closed.</returns>
    private bool WaitForJob(out Port port, out Job job)
    {
        lock (_gate)
        {
            while (!_ending)
            {
                if (TryTakeJob(out port, out job))
                    return true;
                Monitor.Wait(_gate);
            }
        }
        (port, job) = (null!, default);
        return false;
    }

    /// <summary>Takes a job, from the ports in turn. The caller holds the lock.</summary>
    private bool TryTakeJob(out Port port, out Job job)
    {
        for (int i = 0; i < _ports.Count; i++)
        {
            port = _ports[_next++ % _ports.Count];
            if (port.TryTake(out job))
                return true;
        }
        (port, job) = (null!, default);
        return false;
    }

    internal struct Job
    {
        public long OffsetBytes;
        public ulong Tag;
        public int LengthBytes;
        public DiscardMethod Method;
    }

    /// <summary>One queue's jobs and completions.</summary>
    internal sealed class Port(DiscardThread thread, int capacity, Action? wake)
    {
        // A queue never has more discards in flight than it announced, so neither array overflows.
        private readonly Job[] _jobs = new Job[capacity];
        private readonly DiskCompletion[] _done = new DiskCompletion[capacity];
        private int _firstJob,
            _jobCount,
            _firstDone,
            _doneCount;

        public int Start(in DiskOperation operation)
        {
            lock (thread._gate)
            {
                if (_jobCount + _doneCount >= capacity || thread._ending)
                    return -Errno.EAGAIN;
                _jobs[(_firstJob + _jobCount++) % capacity] = new Job
                {
                    OffsetBytes = operation.OffsetBytes,
                    LengthBytes = operation.LengthBytes,
                    Tag = operation.Tag,
                    Method = operation.DiscardMethod,
                };
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

        /// <summary>Called when no discard of the queue is in flight; no wake-up comes afterwards.</summary>
        public void Close()
        {
            lock (thread._gate)
                thread._ports.Remove(this);
        }

        internal bool TryTake(out Job job)
        {
            job = default;
            if (_jobCount == 0)
                return false;
            job = _jobs[_firstJob];
            _firstJob = (_firstJob + 1) % capacity;
            _jobCount--;
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
