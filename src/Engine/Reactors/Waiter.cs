using Blkring.Engine.Queues;

namespace Blkring.Engine.Reactors;

/// <summary>
/// How a reactor hears of events and completions: through io_uring, or with poll(2) where that is refused.
/// </summary>
internal abstract class Waiter : IDisposable
{
    /// <summary>One line for people.</summary>
    public abstract string Describe();

    public abstract Interop.IoUring? Ring { get; }

    /// <summary>Called once, on the reactor's thread, before anything else.</summary>
    public abstract void Enter();

    /// <summary>Starts waiting for the queue's events.</summary>
    public abstract void Add(int index, VbdQueue queue);

    /// <summary>
    /// Stops waiting for them; true when that is over, false when it is to be asked again after the next wait.
    /// </summary>
    public abstract bool TryRemove(int index, VbdQueue queue);

    /// <summary>
    /// Submits what is prepared and waits until something happened, or, unless <paramref name="block"/>, only looks.
    /// Marks the queues that have something to do.
    /// </summary>
    /// <param name="timeoutNs">Longest wait, -1 for none.</param>
    public abstract void Wait(ReadyQueues ready, bool block, long timeoutNs);

    /// <summary>Ends a wait under way. From any thread.</summary>
    public abstract void Wake();

    public abstract void Dispose();
}
