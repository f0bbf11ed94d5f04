namespace Blkring.Engine.Xenbus;

/// <summary>A unit of work that depends on the current state, not on the events that marked it.</summary>
internal abstract class Step
{
    /// <summary>
    /// The number of runs that a guest can cause at once, and per second after that: a guest that keeps marking its
    /// device is slowed down (XSA-349).
    /// </summary>
    private const int Burst = 100,
        PerSecond = 20;

    private double _tokens = Burst;
    private long? _refilled;

    internal StepState State { get; set; }

    /// <summary>Runs the step. A bug in it must not end the process, which serves other guests.</summary>
    public void Run()
    {
        try
        {
            Act();
        }
        catch (Exception bug)
        {
            NoteBug(bug);
        }
    }

    /// <summary>Reports errors itself; an exception is a bug.</summary>
    protected abstract void Act();

    /// <summary>Logs a bug, and has the step tried again.</summary>
    protected abstract void NoteBug(Exception bug);

    /// <summary>Takes one run from the step's budget.</summary>
    /// <returns>How long the run must wait for it.</returns>
    internal TimeSpan TakeBudget(TimeProvider time)
    {
        long now = time.GetTimestamp();
        double earned = time.GetElapsedTime(_refilled ?? now, now).TotalSeconds * PerSecond;
        _tokens = Math.Min(Burst, _tokens + earned) - 1;
        _refilled = now;
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

    /// <summary>Marked while it ran: it is queued again when it ends.</summary>
    RunningMarked,
}
