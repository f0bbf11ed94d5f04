using System.Diagnostics;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// Something that is run again whenever it was marked, never twice at once: however often it is marked before it runs,
/// it runs once.
/// </summary>
internal abstract class Step
{
    /// <summary>
    /// Runs at once before a guest that keeps marking its device is slowed down, and runs a second after that
    /// (XSA-349).
    /// </summary>
    private const int Burst = 100,
        PerSecond = 20;

    private double _tokens = Burst;
    private long _refilled = Stopwatch.GetTimestamp();

    internal StepState State { get; set; }

    /// <summary>Reports what went wrong itself; an exception is a bug of ours and ends the process.</summary>
    public abstract void Run();

    /// <summary>How long a run has to wait; the time is taken from the step's budget.</summary>
    internal TimeSpan TakeBudget()
    {
        long now = Stopwatch.GetTimestamp();
        _tokens = Math.Min(Burst, _tokens + (Stopwatch.GetElapsedTime(_refilled, now).TotalSeconds * PerSecond));
        _refilled = now;
        _tokens--;
        return _tokens >= 0 ? TimeSpan.Zero : TimeSpan.FromSeconds(-_tokens / PerSecond);
    }
}

internal enum StepState : byte
{
    Idle,
    Queued,

    /// <summary>Waits for its budget, then is queued.</summary>
    Deferred,
    Running,

    /// <summary>Marked while it ran: it goes to the end of the queue afterwards.</summary>
    RunningMarked,
}

/// <summary>
/// Runs steps on threads of its own, first come, first served. What may take long, a disk above all, is done in
/// <see cref="Blocking"/>: it then counts for nothing, and another thread takes the next step, so that one sick disk
/// holds nobody up.
/// </summary>
internal sealed class StepPool(string name, int parallel = 4) : IDisposable
{
    private static readonly TimeSpan s_idleThreadLife = TimeSpan.FromSeconds(10);

    [ThreadStatic]
    private static bool t_runsSteps;

    private readonly object _lock = new();
    private readonly Queue<Step> _queue = new();
    private readonly HashSet<Timer> _timers = [];

    /// <summary>
    /// Threads that run a step and are not in <see cref="Blocking"/>; threads that wait for one; all threads.
    /// </summary>
    private int _running,
        _idle,
        _threads;
    private bool _stopping;

    /// <summary>Has the step run, soon and once. Never waits.</summary>
    public void Mark(Step step)
    {
        lock (_lock)
        {
            if (_stopping)
                return;
            switch (step.State)
            {
                case StepState.Idle:
                    Schedule(step);
                    break;
                case StepState.Running:
                    step.State = StepState.RunningMarked;
                    break;
            }
        }
    }

    /// <summary>As <see cref="Mark"/>, after a time.</summary>
    public void MarkLater(Step step, TimeSpan delay) => After(delay, () => Mark(step));

    /// <summary>
    /// Does what may take long, while other steps go on. On a thread that is none of the pool's it is done, and nothing
    /// else.
    /// </summary>
    public TResult Blocking<TResult>(Func<TResult> action)
    {
        if (!t_runsSteps)
            return action();
        Leave();
        try
        {
            return action();
        }
        finally
        {
            lock (_lock)
                _running++;
        }
    }

    /// <summary>Takes no more steps and waits for those that run.</summary>
    /// <returns>False when some still ran after the time.</returns>
    public bool Stop(TimeSpan timeout)
    {
        long start = Stopwatch.GetTimestamp();
        lock (_lock)
        {
            _stopping = true;
            _queue.Clear();
            foreach (Timer timer in _timers)
                timer.Dispose();
            _timers.Clear();
            Monitor.PulseAll(_lock);
            while (_threads > 0)
            {
                TimeSpan left = timeout - Stopwatch.GetElapsedTime(start);
                if (left <= TimeSpan.Zero)
                    return false;
                Monitor.Wait(_lock, left);
            }
            return true;
        }
    }

    public void Dispose() => Stop(TimeSpan.Zero);

    private void Schedule(Step step)
    {
        TimeSpan wait = step.TakeBudget();
        if (wait == TimeSpan.Zero)
        {
            Enqueue(step);
            return;
        }
        step.State = StepState.Deferred;
        After(
            wait,
            () =>
            {
                lock (_lock)
                {
                    if (!_stopping)
                        Enqueue(step);
                }
            }
        );
    }

    private void Enqueue(Step step)
    {
        step.State = StepState.Queued;
        _queue.Enqueue(step);
        StartThreadIfNeeded();
    }

    private void StartThreadIfNeeded()
    {
        if (_queue.Count == 0 || _stopping)
            return;
        if (_idle > 0)
        {
            Monitor.Pulse(_lock);
            return;
        }
        if (_running >= parallel)
            return;
        _threads++;
        _running++;
        new Thread(Work) { Name = name, IsBackground = true }.Start();
    }

    private void Leave()
    {
        lock (_lock)
        {
            _running--;
            StartThreadIfNeeded();
        }
    }

    private void Work()
    {
        t_runsSteps = true;
        while (TakeStep() is { } step)
        {
            step.Run();
            Finish(step);
        }
    }

    /// <summary>The next step; null when this thread is to end.</summary>
    private Step? TakeStep()
    {
        lock (_lock)
        {
            while (!_stopping && _running <= parallel)
            {
                if (_queue.TryDequeue(out Step? step))
                {
                    step.State = StepState.Running;
                    return step;
                }
                _running--;
                _idle++;
                bool woken = Monitor.Wait(_lock, s_idleThreadLife);
                _idle--;
                _running++;
                if (!woken && _queue.Count == 0)
                    break;
            }
            _threads--;
            _running--;
            StartThreadIfNeeded();
            Monitor.PulseAll(_lock);
            return null;
        }
    }

    private void Finish(Step step)
    {
        lock (_lock)
        {
            bool again = step.State == StepState.RunningMarked;
            step.State = StepState.Idle;
            if (again && !_stopping)
                Schedule(step);
        }
    }

    private void After(TimeSpan delay, Action action)
    {
        lock (_lock)
        {
            if (_stopping)
                return;
            Timer? timer = null;
            timer = new Timer(_ =>
            {
                lock (_lock)
                {
                    // Stop has disposed of it meanwhile.
                    if (!_timers.Remove(timer!))
                        return;
                    timer!.Dispose();
                }
                action();
            });
            _timers.Add(timer);
            timer.Change(delay, Timeout.InfiniteTimeSpan);
        }
    }
}
