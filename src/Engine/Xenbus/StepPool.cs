using System.Runtime.ExceptionServices;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// Runs steps on its own threads, first come, first served. While a step is in <see cref="Blocking"/>, another thread
/// takes the next step, so that a disk that hangs delays no other device.
/// </summary>
internal sealed class StepPool(string name, TimeProvider time, int parallel = 4) : IStepPool
{
    private static readonly TimeSpan s_idleThreadLife = TimeSpan.FromSeconds(10);

    [ThreadStatic]
    private static bool t_runsSteps;

    // An object, because threads wait for its pulse.
    private readonly object _lock = new();
    private readonly Queue<Step> _queue = new();
    private readonly HashSet<ITimer> _timers = [];

    /// <summary>The number of threads that run a step and are not in <see cref="Blocking"/>.</summary>
    private int _running;

    /// <summary>The number of threads that wait for a step.</summary>
    private int _idle;

    /// <summary>The number of all threads.</summary>
    private int _threads;
    private bool _stopping;

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

    public void MarkLater(Step step, TimeSpan delay) => After(delay, () => Mark(step));

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

    public void Close()
    {
        lock (_lock)
        {
            _stopping = true;
            _queue.Clear();
            foreach (ITimer timer in _timers)
                timer.Dispose();
            _timers.Clear();
            Monitor.PulseAll(_lock);
        }
    }

    public bool Join(TimeSpan timeout)
    {
        long start = time.GetTimestamp();
        lock (_lock)
        {
            while (_threads > 0)
            {
                TimeSpan left = timeout - time.GetElapsedTime(start);
                if (left <= TimeSpan.Zero)
                    return false;
                Monitor.Wait(_lock, left);
            }
            return true;
        }
    }

    public bool TryRun(Action action, TimeSpan timeout)
    {
        Task task = Task.Factory.StartNew(
            action,
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default
        );
        try
        {
            return task.Wait(timeout);
        }
        catch (AggregateException e)
        {
            ExceptionDispatchInfo.Throw(e.InnerException!);
            throw;
        }
    }

    public bool RunAll(IReadOnlyList<Func<bool>> actions, TimeSpan timeout)
    {
        Task<bool>[] tasks =
        [
            .. actions.Select(action =>
                Task.Factory.StartNew(
                    action,
                    CancellationToken.None,
                    TaskCreationOptions.LongRunning,
                    TaskScheduler.Default
                )
            ),
        ];
        return Task.WhenAll(tasks).Wait(timeout) && Array.TrueForAll(tasks, task => task.Result);
    }

    private void Schedule(Step step)
    {
        TimeSpan wait = step.TakeBudget(time);
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

    /// <returns>The next step; null when this thread has to end.</returns>
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
            ITimer? timer = null;
            timer = time.CreateTimer(
                _ =>
                {
                    lock (_lock)
                    {
                        // Stop may have disposed of it.
                        if (!_timers.Remove(timer!))
                            return;
                        timer!.Dispose();
                    }
                    action();
                },
                null,
                Timeout.InfiniteTimeSpan,
                Timeout.InfiniteTimeSpan
            );
            _timers.Add(timer);
            timer.Change(delay, Timeout.InfiniteTimeSpan);
        }
    }
}
