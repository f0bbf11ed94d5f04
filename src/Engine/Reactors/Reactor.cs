using Blkring.Engine.Queues;
using Blkring.Interop;

namespace Blkring.Engine.Reactors;

/// <summary>
/// One thread that serves any number of queues (B20). This class is the thread and what the control plane asks of it;
/// what the thread does is <see cref="ReactorLoop"/>, how it waits is a <see cref="Waiter"/>.
/// </summary>
/// <remarks>
/// All members may be called from any thread, unless <see cref="ReactorOptions.OwnThread"/> is false. A pass takes only
/// part of what a flooded ring holds, so no guest makes the others wait for long.
/// </remarks>
public sealed class Reactor : IReactors, IDisposable
{
    /// <summary>How long a caller waits for a thread that is stuck.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(2);

    private readonly Waiter _waiter;
    private readonly ReactorLoop _loop;
    private readonly TimeProvider _clock;
    private volatile int _threadId;

    // Null if the owner runs the rounds.
    private readonly Thread? _thread;
    private bool _disposed;

    public Reactor(ReactorOptions? options = null)
        : this(options ??= new ReactorOptions(), CreateWaiter(options)) { }

    /// <param name="waiter">What stands for the kernel; owned from here on.</param>
    internal Reactor(ReactorOptions options, Waiter waiter)
    {
        NativeBinding.BindLibc();
        (_waiter, _clock, Name) = (waiter, options.Clock, options.Name);
        _loop = new ReactorLoop(options, waiter);
        if (!options.OwnThread)
        {
            _waiter.Enter();
            return;
        }
        _thread = new Thread(Run) { Name = options.Name, IsBackground = true };
        _thread.Start();
        if (options.Cpu is { } cpu)
            Pin(cpu);
    }

    public string Name { get; }

    /// <summary>The number of the round under way; another one at each round.</summary>
    public long Round => _loop.Round;

    /// <summary>The thread waits for work. If not, its round ends soon, or something is wrong.</summary>
    public bool IsAsleep => _loop.IsAsleep;

    /// <summary>What the thread does now.</summary>
    public ThreadActivity Activity => _threadId == 0 ? ThreadActivity.InKernel : ThreadStates.Read(_threadId);

    /// <summary>One line for people: how disk I/O and waiting are done, and why.</summary>
    public string Describe() => _waiter.Describe();

    public bool UsesIoUring => _waiter.Ring is not null;

    /// <summary>
    /// The bytes that the garbage collector has allocated for the thread since it started, as of its last wait.
    /// </summary>
    public long AllocatedBytes => _loop.AllocatedBytes;

    /// <summary>The number of io_uring_enter calls so far; 0 without io_uring.</summary>
    public ulong EnterCount => _waiter.Ring?.EnterCount ?? 0;

    /// <summary>Itself: any number of devices share one reactor (B20).</summary>
    public Reactor Take() => this;

    public IReadOnlyList<Reactor> Reactors => [this];

    public void Release(Reactor reactor) { }

    /// <summary>Takes a queue and starts to serve it.</summary>
    /// <exception cref="InvalidOperationException">The reactor carries as many queues as it can.</exception>
    /// <exception cref="TimeoutException">The thread is stuck: nothing was done.</exception>
    public void Add(VbdQueue queue)
    {
        if (!TryInvoke(() => _loop.MarkReady(_loop.Carried.Add(queue, _loop.PassRequests)), s_patience))
            throw new TimeoutException($"the I/O thread {Name} does not answer");
    }

    /// <summary>
    /// Runs an action on the thread, between passes, unless the queue has left; does not wait for it.
    /// </summary>
    public void Post(VbdQueue queue, Action action)
    {
        void Run()
        {
            if (_loop.Carried.Carries(queue))
                action();
        }
        if (_thread is null)
            Run();
        else
            _loop.Commands.Post(Run);
    }

    /// <summary>Takes no more requests from the queue and waits until those in flight are answered (B18).</summary>
    /// <returns>
    /// False if that takes longer than <paramref name="timeout"/>: the queue stays drained, its requests in flight.
    /// True also if the queue has left already.
    /// </returns>
    public bool Drain(VbdQueue queue, TimeSpan timeout) => Depart(queue, leaves: false, timeout);

    /// <summary>Serves a drained queue again (B18).</summary>
    /// <exception cref="InvalidOperationException">The reactor does not carry the queue, or it is leaving.</exception>
    public void Resume(VbdQueue queue) => Invoke(() => _loop.MarkReady(_loop.Carried.Resume(queue)));

    /// <summary>
    /// Drains the queue and lets go of it: neither this thread nor the kernel touches it afterwards (B19).
    /// </summary>
    /// <returns>
    /// False if I/O is still in flight after <paramref name="timeout"/>: the queue's memory must then not be freed.
    /// </returns>
    public bool Remove(VbdQueue queue, TimeSpan timeout) => Depart(queue, leaves: true, timeout);

    /// <summary>
    /// Runs a pass of the queue although no event came, because something other than the ring has changed.
    /// </summary>
    /// <exception cref="InvalidOperationException">The reactor does not carry the queue.</exception>
    public void Kick(VbdQueue queue) => Invoke(() => _loop.MarkReady(_loop.Carried.IndexOf(queue)));

    /// <summary>Calls <see cref="VbdQueue.FailLost"/>, unless the queue has left.</summary>
    public void FailLost(VbdQueue queue) =>
        Invoke(() =>
        {
            int index = Array.IndexOf(_loop.Carried.Slots, queue);
            if (index < 0)
                return;
            queue.FailLost();
            _loop.MarkReady(index);
        });

    /// <summary>
    /// Runs an action on the thread, between passes, and waits for it. What it throws is thrown here.
    /// </summary>
    public void Invoke(Action action)
    {
        _ = TryInvoke(action, Timeout.InfiniteTimeSpan);
    }

    private bool TryInvoke(Action action, TimeSpan patience)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_thread is not null && _thread != Thread.CurrentThread)
            return _loop.Commands.TryInvoke(action, patience, _thread, this);
        action();
        return true;
    }

    /// <summary>
    /// Runs one round of the loop on the calling thread, without sleeping: passes for the queues that are ready, then a
    /// look for events and completions.
    /// </summary>
    /// <exception cref="InvalidOperationException">The reactor has a thread of its own.</exception>
    public void RunOnce()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_thread is not null)
            throw new InvalidOperationException("the reactor has a thread of its own, which runs the rounds");
        _loop.RunOnce(mayBlock: false);
    }

    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        _loop.Commands.Stop();
        _thread?.Join();
        _loop.PassRequests.Close();
        _waiter.Dispose();
    }

    private bool Depart(VbdQueue queue, bool leaves, TimeSpan timeout)
    {
        CarriedQueues.Departure departure = null!;
        TimeSpan patience = timeout == Timeout.InfiniteTimeSpan || timeout >= s_patience ? timeout : s_patience;
        long begun = _clock.GetTimestamp();
        // A thread that is stuck costs the caller no more than its time.
        if (!TryInvoke(() => departure = _loop.Carried.BeginDeparture(queue, leaves), patience))
            return false;
        if (_thread is not null)
        {
            if (timeout == Timeout.InfiniteTimeSpan)
                return departure.Done.Wait(timeout);
            TimeSpan left = timeout - _clock.GetElapsedTime(begun);
            return departure.Done.Wait(left > TimeSpan.Zero ? left : TimeSpan.Zero);
        }
        long start = _clock.GetTimestamp();
        while (!departure.Done.IsSet && _clock.GetElapsedTime(start) <= timeout)
            RunOnce();
        return departure.Done.IsSet;
    }

    /// <summary>
    /// Pins the thread by a command, so that a failure reaches the caller: without a reactor, it could not end the
    /// thread.
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
        _threadId = Libc.Gettid();
        _waiter.Enter();
        while (!_loop.Commands.Stopping)
            _loop.RunOnce(mayBlock: true);
    }

    private static Waiter CreateWaiter(ReactorOptions options)
    {
        if (!options.UseIoUring)
            return new PollWaiter("as asked", options.MaxQueues);
        return IoUring.TryCreate(options.Ring, out IoUring? ring, out string refusal)
            ? new IoUringWaiter(ring, options.MaxQueues)
            : new PollWaiter(refusal, options.MaxQueues);
    }
}
