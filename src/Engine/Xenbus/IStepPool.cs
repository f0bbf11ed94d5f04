namespace Blkring.Engine.Xenbus;

/// <summary>Runs steps that were marked, each on one thread at a time.</summary>
internal interface IStepPool
{
    /// <summary>Schedules one run of the step, however often it is marked before it runs. Never waits.</summary>
    void Mark(Step step);

    /// <summary>Like <see cref="Mark"/>, after a delay.</summary>
    void MarkLater(Step step, TimeSpan delay);

    /// <summary>
    /// Runs an action that may take long, such as a disk operation, while other steps continue. On a thread that is not
    /// of the pool, it only runs the action.
    /// </summary>
    TResult Blocking<TResult>(Func<TResult> action);

    /// <summary>Starts no more steps, and waits for those that run.</summary>
    /// <returns>False when some still ran after <paramref name="timeout"/>.</returns>
    bool Stop(TimeSpan timeout);

    /// <summary>Runs all actions at the same time, after the last step has ended.</summary>
    /// <returns>True when all of them returned true.</returns>
    bool RunAll(IReadOnlyList<Func<bool>> actions);
}
