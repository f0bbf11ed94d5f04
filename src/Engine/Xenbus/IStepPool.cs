namespace Blkring.Engine.Xenbus;

/// <summary>Runs steps: each when it was marked, never twice at the same time.</summary>
internal interface IStepPool
{
    /// <summary>Has the step run soon, once, however often it is marked before it runs. Never waits.</summary>
    void Mark(Step step);

    /// <summary>As <see cref="Mark"/>, after a time.</summary>
    void MarkLater(Step step, TimeSpan delay);

    /// <summary>
    /// Runs an action that may take long, a disk operation above all, while other steps go on. On a thread that is not
    /// the pool's it only runs the action.
    /// </summary>
    TResult Blocking<TResult>(Func<TResult> action);

    /// <summary>Takes no more steps and waits for those that run.</summary>
    /// <returns>False when some still ran after <paramref name="timeout"/>.</returns>
    bool Stop(TimeSpan timeout);

    /// <summary>Runs all actions at the same time, when no step runs any more.</summary>
    /// <returns>True when all of them returned true.</returns>
    bool RunAll(IReadOnlyList<Func<bool>> actions);
}
