using System.Collections.Concurrent;
using System.Diagnostics;
using Blkring.Engine.Queues;
using Blkring.Interop;

namespace Blkring.Engine.Reactors;

/// <summary>
/// One thread that serves any number of queues (B20): it waits once for all of them, gives each that has something to
/// do one turn, and submits what they prepared together with the next wait.
/// </summary>
/// <remarks>
/// The control plane talks to it by commands, which run on the thread between turns; they may allocate, turns may not.
/// A turn takes a part of what a flooded ring holds, so that no guest can keep the others waiting for long.
/// </remarks>
public sealed class Reactor : IReactors, IDisposable
{
    /// <summary>Between looks at a queue whose disk said EAGAIN, and at one that is leaving.</summary>
    private static readonly long s_retryDelayNs = (long)VbdQueueOptions.DefaultRetryDelay.TotalNanoseconds;
    private const int CommandPatienceMs = 1000;
    private const uint RoundsBetweenLooks = 1024;

    /// <summary>
    /// The clock is a system call in PV domains whose time stamp counter is not stable, and who looks at it sees no
    /// request meanwhile.
    /// </summary>
    private const int LooksPerReading = 8;

    /// <summary>Rings looked at between any two turns; with more of them the rest is served by events alone.</summary>
    private const int MaxAwake = 16;

    private readonly ReactorOptions _options;
    private readonly Waiter _waiter;
    private readonly Thread _thread;
    private readonly ConcurrentQueue<Command> _commands = new();
    private readonly VbdQueue?[] _queues;
    private readonly ReadyQueues _ready;

    // Queues whose ring was empty when last looked at, and whose frontend has not been asked for an event yet.
    private readonly ReadyQueues _awake;
    private AdaptivePolling _polling;
    private readonly List<Departure> _departures = [];

    // 1 for each queue that another thread wants turned. Without a lock: the first wait for one allocates.
    private readonly int[] _called;
    private volatile bool _anyCalled;

    // Between those who call and who ends the thread; the thread itself does not take it.
    private readonly Lock _callLock = new();
    private bool _deaf;
    private int _queueCount;
    private long _allocatedBytes,
        _idleGrantsAt = Stopwatch.GetTimestamp(),
        _restEnded = Stopwatch.GetTimestamp();
    private uint _rounds;
    private volatile bool _stopping;
    private bool _disposed;

    public Reactor(ReactorOptions? options = null)
    {
        _options = options ?? new ReactorOptions();
        NativeBinding.BindLibc();
        _waiter = CreateWaiter(_options);
        _queues = new VbdQueue?[_options.MaxQueues];
        _ready = new ReadyQueues(_options.MaxQueues);
        _awake = new ReadyQueues(_options.MaxQueues);
        _called = new int[_options.MaxQueues];
        _polling = new AdaptivePolling((long)_options.PollWindow.TotalNanoseconds);
        _thread = new Thread(Run) { Name = _options.Name, IsBackground = true };
        _thread.Start();
        if (_options.Cpu is { } cpu)
            Pin(cpu);
    }

    /// <summary>One line for people: how disk I/O and waiting are done, and why.</summary>
    public string Describe() => _waiter.Describe();

    public bool UsesIoUring => _waiter.Ring is not null;

    /// <summary>
    /// Bytes that the garbage collector has allocated for this thread since it started, as of its last wait.
    /// </summary>
    public long AllocatedBytes => Volatile.Read(ref _allocatedBytes);

    /// <summary>io_uring_enter calls so far; 0 without io_uring.</summary>
    public ulong EnterCount => _waiter.Ring?.EnterCount ?? 0;

    /// <summary>Itself: any number of devices share one reactor (B20).</summary>
    public Reactor Take() => this;

    public void Release(Reactor reactor) { }

    /// <summary>Takes a queue on and starts serving it.</summary>
    /// <exception cref="InvalidOperationException">The reactor carries as many queues as it can.</exception>
    public void Add(VbdQueue queue) =>
        Invoke(() =>
        {
            int index = Array.IndexOf(_queues, null);
            if (index < 0)
                throw new InvalidOperationException(
                    $"the reactor '{_options.Name}' already carries {_queues.Length} queues: use another"
                );
            _queues[index] = queue;
            _queueCount = Math.Max(_queueCount, index + 1);
            queue.AttachDisk((ushort)index, _waiter.Ring, () => Call(index));
            _waiter.Add(index, queue);
            queue.AttachRing();
            _ready.Mark(index);
        });

    /// <summary>Takes no more requests from the queue and waits until those under way are answered (B18).</summary>
    /// <returns>
    /// False when that did not happen in time; the queue stays drained and its requests stay under way. True when it
    /// has left already.
    /// </returns>
    public bool Drain(VbdQueue queue, TimeSpan timeout)
    {
        Departure departure = new(queue, leaves: false);
        Invoke(() => BeginDeparture(departure));
        return departure.Done.Wait(timeout);
    }

    /// <summary>Serves a drained queue again (B18).</summary>
    public void Resume(VbdQueue queue) =>
        Invoke(() =>
        {
            int index = CarriedIndexOf(queue);
            if (_departures.Exists(departure => departure.Queue == queue && departure.Leaves))
                throw new InvalidOperationException("the queue is being removed: it cannot be resumed");
            _departures.RemoveAll(departure => departure.Queue == queue);
            queue.AttachRing();
            _ready.Mark(index);
        });

    /// <summary>
    /// Drains the queue and lets go of it: nothing of it is touched by this thread or the kernel afterwards (B19).
    /// </summary>
    /// <returns>
    /// False when I/O is still under way after <paramref name="timeout"/>: its memory must then not be freed.
    /// </returns>
    public bool Remove(VbdQueue queue, TimeSpan timeout)
    {
        Departure? departure = null;
        Invoke(() =>
        {
            // Asked again after a timeout: the departure under way goes on.
            departure =
                _departures.Find(other => other.Queue == queue && other.Leaves) ?? new Departure(queue, leaves: true);
            if (!_departures.Contains(departure))
                BeginDeparture(departure);
        });
        return departure!.Done.Wait(timeout);
    }

    /// <summary>Turns the queue once more although no event came, after something outside the ring changed.</summary>
    public void Kick(VbdQueue queue) => Invoke(() => _ready.Mark(CarriedIndexOf(queue)));

    /// <summary>Runs an action on the thread, between turns, and waits for it; its exception is thrown here.</summary>
    public void Invoke(Action action)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (Thread.CurrentThread == _thread)
        {
            action();
            return;
        }
        Command command = new(action);
        _commands.Enqueue(command);
        _waiter.Wake();
        // A command that comes too late for a thread that has been told to end is never run.
        while (!command.Done.Wait(CommandPatienceMs))
            ObjectDisposedException.ThrowIf(!_thread.IsAlive && !command.Done.IsSet, this);
        if (command.Error is { } error)
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(error);
    }

    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        _stopping = true;
        _waiter.Wake();
        _thread.Join();
        // What calls may outlive a queue that could not be stopped.
        lock (_callLock)
            _deaf = true;
        _waiter.Dispose();
    }

    /// <summary>From any thread: the queue is to be turned once more.</summary>
    private void Call(int index)
    {
        lock (_callLock)
        {
            if (_deaf)
                return;
            // In this order, against MarkCalled: who finds any finds which, and who wakes finds any.
            Volatile.Write(ref _called[index], 1);
            _anyCalled = true;
            _waiter.Wake();
        }
    }

    private void MarkCalled()
    {
        Interlocked.Exchange(ref _anyCalled, false);
        for (int index = 0; index < _queueCount; index++)
            if (Interlocked.Exchange(ref _called[index], 0) != 0)
                _ready.Mark(index);
    }

    /// <summary>
    /// Checked here, where the caller can hear of it; a caller who gets no reactor cannot end its thread.
    /// </summary>
    private void Pin(int cpu)
    {
        try
        {
            Invoke(() => CpuAffinity.PinCurrentThread(cpu));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    private void Run()
    {
        _waiter.Enter();
        while (!_stopping)
        {
            if (_anyCalled)
                MarkCalled();
            bool retry = RunTurns();
            RunCommands();
            if (_departures.Count > 0)
                RunDepartures();
            Volatile.Write(ref _allocatedBytes, GC.GetAllocatedBytesForCurrentThread());

            // A thread that never sleeps comes by here as well, but looking is for every queue: not each time.
            if (++_rounds % RoundsBetweenLooks == 0)
                ReleaseIdleGrants();
            if (HasWork() || LookForWork() || CheckBeforeSleep())
                _waiter.Wait(_ready, block: false, -1);
            else
                Sleep(retry || _departures.Count > 0 ? s_retryDelayNs : ReleaseIdleGrants());
            if (retry)
                MarkAll();
        }
    }

    /// <summary>
    /// Lets queues let go of pages that they have kept mapped in vain, when it is time. Nanoseconds until it is time
    /// again, -1 for never.
    /// </summary>
    private long ReleaseIdleGrants()
    {
        if (!AnyHoldsIdleGrants())
            return -1;
        long now = Stopwatch.GetTimestamp();
        long since = (long)Stopwatch.GetElapsedTime(_idleGrantsAt, now).TotalNanoseconds,
            interval = (long)_options.IdleGrantsInterval.TotalNanoseconds;
        if (since < interval)
            return interval - since;
        _idleGrantsAt = now;
        for (int index = 0; index < _queueCount; index++)
            _queues[index]?.ReleaseIdleGrants(now);
        return interval;
    }

    private bool AnyHoldsIdleGrants()
    {
        for (int index = 0; index < _queueCount; index++)
            if (_queues[index] is { HoldsIdleGrants: true })
                return true;
        return false;
    }

    private bool HasWork()
    {
        MarkPosted();
        return _ready.Count > 0 || _anyCalled || !_commands.IsEmpty || _stopping;
    }

    /// <summary>
    /// Queues that are awake and have got requests meanwhile are ready; nobody is asked for an event, and none is sent.
    /// </summary>
    private void MarkPosted()
    {
        for (int count = _awake.Count; count > 0; count--)
        {
            int index = _awake.Take();
            if (_queues[index] is not { } queue)
                continue;
            if (queue.HasRequests)
                _ready.Mark(index);
            else
                _awake.Mark(index);
        }
    }

    /// <summary>Asks the frontends for events; true when one of them posted just before.</summary>
    private bool CheckBeforeSleep()
    {
        while (_awake.Count > 0)
        {
            int index = _awake.Take();
            if (_queues[index] is { } queue)
                Rest(index, queue);
        }
        return _ready.Count > 0;
    }

    /// <summary>From here on an event tells of the queue's next request; unless there is one already.</summary>
    private void Rest(int index, VbdQueue queue)
    {
        if (queue.FinalCheckForRequests())
            _ready.Mark(index);
        else
            queue.UnmaskEvents();
    }

    private void Sleep(long timeoutNs)
    {
        if (!MayLook)
        {
            _waiter.Wait(_ready, block: true, timeoutNs);
            return;
        }
        long start = Stopwatch.GetTimestamp();
        _waiter.Wait(_ready, block: true, timeoutNs);
        _restEnded = Stopwatch.GetTimestamp();
        _polling.Slept(NsBetween(start, _restEnded));
    }

    // Without io_uring there is nothing to look at but system calls.
    private bool MayLook => _waiter.Ring is not null && _options.PollWindow > TimeSpan.Zero;

    private static long NsBetween(long from, long to) => (long)Stopwatch.GetElapsedTime(from, to).TotalNanoseconds;

    /// <summary>
    /// Looks at completions and at the rings that are awake, for as long as that pays. True when there is something to
    /// do.
    /// </summary>
    private bool LookForWork()
    {
        if (!MayLook)
            return false;
        long start = Stopwatch.GetTimestamp();
        _polling.Worked(NsBetween(_restEnded, start));
        _restEnded = start;
        long window = _polling.WindowNs;
        if (window == 0)
            return false;
        do
        {
            for (int look = 0; look < LooksPerReading; look++)
            {
                _waiter.Wait(_ready, block: false, -1);
                if (!HasWork())
                    continue;
                _polling.Found();
                return true;
            }
            _restEnded = Stopwatch.GetTimestamp();
        } while (NsBetween(start, _restEnded) < window);
        _polling.LookedInVain();
        return false;
    }

    /// <summary>One turn for each queue that is ready now; those that want more come after the others.</summary>
    private bool RunTurns()
    {
        bool retry = false;
        for (int turns = _ready.Count; turns > 0; turns--)
        {
            int index = _ready.Take();
            if (_queues[index] is not { } queue)
                continue;
            // Looking pays: so the frontend does not need this CPU.
            TurnResult result = queue.Turn(overlaps: _polling.WindowNs > 0);
            if (result == TurnResult.More)
                _ready.Mark(index);
            else if (_polling.WindowNs > 0 && _awake.Count < MaxAwake)
                _awake.Mark(index);
            // Before looking at the others: they may keep this thread from ever sleeping.
            else
                Rest(index, queue);
            retry |= result == TurnResult.Retry;
        }
        return retry;
    }

    private void MarkAll()
    {
        for (int index = 0; index < _queueCount; index++)
            if (_queues[index] is not null)
                _ready.Mark(index);
    }

    private void RunCommands()
    {
        while (_commands.TryDequeue(out Command? command))
        {
            try
            {
                command.Action();
            }
            catch (Exception error) when (command.Catch(error))
            {
                // Thrown again where the command was given.
            }
            command.Done.Set();
        }
    }

    private void BeginDeparture(Departure departure)
    {
        if (IndexOf(departure.Queue) < 0)
        {
            departure.Done.Set();
            return;
        }
        departure.Queue.DetachRing();
        _departures.Add(departure);
    }

    private void RunDepartures()
    {
        for (int i = _departures.Count; i-- > 0; )
        {
            Departure departure = _departures[i];
            VbdQueue queue = departure.Queue;
            int index = IndexOf(queue);
            // A drain of a queue that has left meanwhile is over, too.
            if (index >= 0 && (queue.InFlight > 0 || (departure.Leaves && !_waiter.TryRemove(index, queue))))
                continue;
            _departures.RemoveAt(i);
            if (index >= 0 && departure.Leaves)
            {
                queue.DetachDisk();
                _queues[index] = null;
            }
            departure.Done.Set();
        }
    }

    private int IndexOf(VbdQueue queue) => Array.IndexOf(_queues, queue);

    private int CarriedIndexOf(VbdQueue queue)
    {
        int index = IndexOf(queue);
        return index >= 0
            ? index
            : throw new InvalidOperationException($"the reactor '{_options.Name}' does not carry this queue");
    }

    private static Waiter CreateWaiter(ReactorOptions options)
    {
        if (!options.UseIoUring)
            return new PollWaiter("as asked", options.MaxQueues);
        return IoUring.TryCreate(options.Ring, out IoUring? ring, out string refusal)
            ? new IoUringWaiter(ring, options.MaxQueues)
            : new PollWaiter(refusal, options.MaxQueues);
    }

    private sealed class Command(Action action)
    {
        public Action Action { get; } = action;
        public ManualResetEventSlim Done { get; } = new();
        public Exception? Error { get; private set; }

        public bool Catch(Exception error)
        {
            Error = error;
            return true;
        }
    }

    /// <summary>A queue that is to be drained, and perhaps to leave, once nothing of it is under way.</summary>
    private sealed class Departure(VbdQueue queue, bool leaves)
    {
        public VbdQueue Queue { get; } = queue;
        public bool Leaves { get; } = leaves;
        public ManualResetEventSlim Done { get; } = new();
    }
}
