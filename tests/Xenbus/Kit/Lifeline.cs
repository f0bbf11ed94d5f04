using Blkring.Engine.Xenbus;

namespace Blkring.Xenbus.Tests.Kit;

/// <summary>The threads and timers of a control plane, which end at once when it is cut.</summary>
internal sealed class Lifeline : TimeProvider
{
    private readonly List<ITimer> _timers = [];
    private readonly List<IDisposable> _threads = [];
    private StepPool? _steps;

    public Lifeline() =>
        Runtime = ControlRuntime.Production with
        {
            Time = this,
            StartSteps = time => _steps = new StepPool("xenbus", time),
            StartWatching = loop =>
            {
                WatchThread thread = new(loop);
                _threads.Add(thread);
                return thread;
            },
        };

    public ControlRuntime Runtime { get; }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        ITimer timer = base.CreateTimer(callback, state, dueTime, period);
        lock (_timers)
            _timers.Add(timer);
        return timer;
    }

    public void Cut()
    {
        lock (_timers)
            _timers.ForEach(timer => timer.Dispose());
        _steps?.Close();
        Assert.True(_steps?.Join(Wait.Limit) ?? true);
        _threads.ForEach(thread => thread.Dispose());
    }
}
