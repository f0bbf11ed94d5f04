using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>Does one discard and waits for it: 0 or a negative errno. Lengths in bytes.</summary>
internal delegate int DiscardCall(int descriptor, DiscardMethod method, long offsetBytes, int lengthBytes);

/// <summary>
/// A thread for the discards of one disk that io_uring cannot do: BLKDISCARD before Linux 6.12, and all where io_uring
/// is refused. A discard can take seconds, and a reactor's thread has other disks to serve. It starts with the first of
/// them, and is the disk's own, so that a sick device holds up nobody else.
/// </summary>
public sealed class DiscardThread : IDisposable
{
    /// <summary>A discard that the device does not end must not hang who closes the disk as well.</summary>
    private const int PatienceMs = 1000;

    private readonly FileDescriptor _file;
    private readonly DiscardCall _call;

    // Guards everything below, and the ports.
    private readonly object _gate = new();
    private readonly List<Port> _ports = [];
    private Thread? _thread;
    private int _next;
    private bool _ending;

    public DiscardThread(FileDescriptor file)
        : this(file, Perform) { }

    /// <param name="call">What stands for the kernel, in tests.</param>
    internal DiscardThread(FileDescriptor file, DiscardCall call) => (_file, _call) = (file, call);

    /// <summary>For one queue, on the thread that turns it.</summary>
    internal Port Open(in DiskAttachment attachment)
    {
        Port port = new(this, attachment.MaxDiscards, attachment.Wake);
        lock (_gate)
            _ports.Add(port);
        return port;
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _ending = true;
            Monitor.Pulse(_gate);
        }
        _thread?.Join(PatienceMs);
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

    /// <summary>
    /// Once in a disk's life, on a reactor's thread: the only thing here that allocates after the attachment.
    /// </summary>
    private void StartThread()
    {
        _thread = new Thread(Run, maxStackSize: 256 * 1024) { Name = "blkring-discard", IsBackground = true };
        _thread.Start();
    }

    private void Run()
    {
        // While this thread may be in a call, the number must not come to mean another file, whoever closes the disk.
        bool held = false;
        _file.DangerousAddRef(ref held);
        try
        {
            int descriptor = _file.Value;
            while (TakeJob(out Port port, out Job job))
                port.Complete(job.Tag, _call(descriptor, job.Method, job.OffsetBytes, job.LengthBytes));
        }
        finally
        {
            _file.DangerousRelease();
        }
    }

    /// <summary>Waits for the next one, of the queues in turn. False at the end.</summary>
    private bool TakeJob(out Port port, out Job job)
    {
        lock (_gate)
        {
            while (!_ending)
            {
                for (int i = 0; i < _ports.Count; i++)
                {
                    port = _ports[_next++ % _ports.Count];
                    if (port.TryTake(out job))
                        return true;
                }
                Monitor.Wait(_gate);
            }
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

    /// <summary>One queue's end of it.</summary>
    internal sealed class Port(DiscardThread thread, int capacity, Action? wake)
    {
        // A queue never has more under way than it said, so that neither ring overflows.
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
                if (thread._thread is null)
                    thread.StartThread();
                Monitor.Pulse(thread._gate);
            }
            return IDiskIo.Pending;
        }

        public int Reap(Span<DiskCompletion> completions)
        {
            // A glance for every turn of a queue that discards nothing; one that is missed has its wake-up still to
            // come.
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

        /// <summary>Nothing of the queue is under way; whoever wakes it has done so.</summary>
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
            // Under the lock also the wake-up: the queue cannot take the completion, end and close before it.
            lock (thread._gate)
            {
                _done[(_firstDone + _doneCount) % capacity] = new DiskCompletion { Tag = tag, Result = result };
                _doneCount++;
                wake?.Invoke();
            }
        }
    }
}
