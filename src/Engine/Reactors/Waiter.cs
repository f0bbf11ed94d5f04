using Blkring.Engine.Queues;

namespace Blkring.Engine.Reactors;

/// <summary>
/// Waits for events and completions for a reactor: by io_uring, or by poll(2) where io_uring is refused. All members
/// except <see cref="Wake"/> are called on the reactor's thread.
/// </summary>
internal abstract class Waiter : IDisposable
{
    /// <summary>One line for people.</summary>
    public abstract string Describe();

    public abstract Interop.IoUring? Ring { get; }

    /// <summary>Makes the calling thread the waiter's own. Called once, before anything else.</summary>
    public abstract void Enter();

    /// <summary>Starts waiting for the queue's events.</summary>
    public abstract void Add(int index, VbdQueue queue);

    /// <summary>Stops waiting for the queue's events.</summary>
    /// <returns>False if that is not complete yet: call again after the next <see cref="Wait"/>.</returns>
    public abstract bool TryRemove(int index, VbdQueue queue);

    /// <summary>
    /// Submits the prepared entries, takes what has completed, and marks the queues that have something to do.
    /// </summary>
    /// <param name="block">Whether to wait until there is an event or a completion.</param>
    /// <param name="timeoutNs">The longest wait; -1 waits without limit.</param>
    public abstract void Wait(ReadyQueues ready, bool block, long timeoutNs);

    /// <summary>Ends the current or the next blocking wait. From any thread.</summary>
    public abstract void Wake();

    public abstract void Dispose();
}
