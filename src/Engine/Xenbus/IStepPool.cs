namespace Blkring.Engine.Xenbus;

/// <summary>Runs steps that were marked, each on one thread at a time.</summary>
internal interface IStepPool
{
    /// <summary>
    /// Runs an action on a thread of its own, so that one that hangs costs its caller no more than the timeout. What it
    /// throws in time is thrown here.
    /// </summary>
    /// <returns>False when it has not ended after <paramref name="timeout"/>: it goes on.</returns>
    bool TryRun(Action action, TimeSpan timeout);

    /// <summary>Schedules one run of the step, however often it is marked before it runs. Never waits.</summary>
    void Mark(Step step);

    /// <summary>Like <see cref="Mark"/>, after a delay.</summary>
    void MarkLater(Step step, TimeSpan delay);

    /// <summary>
    /// Runs an action that may take long, such as a disk operation, while other steps continue. On a thread that is not
    /// of the pool, it only runs the action.
    /// </summary>
    TResult Blocking<TResult>(Func<TResult> action);

    /// <summary>Starts no more steps. Those that run go on.</summary>
    void Close();

    /// <summary>Waits for the steps that still run after <see cref="Close"/>.</summary>
    /// <returns>False when some still ran after <paramref name="timeout"/>.</returns>
    bool Join(TimeSpan timeout);

    /// <summary>Runs all actions at the same time, each on a thread of its own.</summary>
    /// <returns>True when all of them returned true within <paramref name="timeout"/>.</returns>
    bool RunAll(IReadOnlyList<Func<bool>> actions, TimeSpan timeout);
}
