using Blkring.Engine.Xenbus;
using Microsoft.Extensions.Time.Testing;

namespace Blkring.Xenbus.Tests.Kit;

/// <summary>
/// Drives a control plane on the test's own thread, with a clock that only the test moves: what a simulator does.
/// </summary>
internal sealed class OneThread : IStepPool
{
    private readonly Queue<Step> _marked = new();
    private WatchLoop? _loop;
    private DateTimeOffset _turnDue;

    public OneThread() =>
        Runtime = new ControlRuntime
        {
            Time = Time,
            Sleep = time =>
            {
                Time.Advance(time);
                WhileSleeping();
            },
            StartSteps = _ => this,
            StartWatching = loop =>
            {
                _loop = loop;
                return new Watching();
            },
        };

    /// <summary>What runs elsewhere while a step waits: the data path.</summary>
    public Action WhileSleeping { get; set; } = () => { };

    public FakeTimeProvider Time { get; } = new();
    public ControlRuntime Runtime { get; }

    /// <summary>Takes the store's events and runs steps until there is nothing more to do at this time.</summary>
    public void Settle()
    {
        do
        {
            _turnDue = Time.GetUtcNow() + _loop!.Turn(hungUp: false);
            while (_marked.TryDequeue(out Step? step))
                step.Run();
            _loop.Turn(hungUp: false);
        } while (_marked.Count > 0);
    }

    /// <summary>Advances the clock by milliseconds, and at each runs what is due.</summary>
    public void Advance(TimeSpan time)
    {
        for (DateTimeOffset end = Time.GetUtcNow() + time; Time.GetUtcNow() < end; )
        {
            Time.Advance(TimeSpan.FromMilliseconds(1));
            if (_marked.Count > 0 || Time.GetUtcNow() >= _turnDue)
                Settle();
        }
    }

    public void Mark(Step step)
    {
        if (!_marked.Contains(step))
            _marked.Enqueue(step);
    }

    public void MarkLater(Step step, TimeSpan delay)
    {
        ITimer? timer = null;
        timer = Time.CreateTimer(
            _ =>
            {
                timer!.Dispose();
                Mark(step);
            },
            null,
            delay,
            Timeout.InfiniteTimeSpan
        );
    }

    public TResult Blocking<TResult>(Func<TResult> action) => action();

    public void Close() => _marked.Clear();

    public bool Join(TimeSpan timeout) => true;

    public bool TryRun(Action action, TimeSpan timeout)
    {
        action();
        return true;
    }

    public bool RunAll(IReadOnlyList<Func<bool>> actions, TimeSpan timeout) => actions.All(action => action());

    private sealed class Watching : IDisposable
    {
        public void Dispose() { }
    }
}
