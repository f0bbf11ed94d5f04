namespace Blkring.Engine.Reactors;

/// <summary>
/// Where queues get the thread that serves them. A <see cref="Reactor"/> is one that always gives itself.
/// </summary>
public interface IReactors
{
    /// <summary>The reactor for one more queue.</summary>
    Reactor Take();

    /// <summary>A queue that took this reactor has left it. Not to be called on the reactor's own thread.</summary>
    void Release(Reactor reactor);
}
