namespace Blkring.Engine.Reactors;

/// <summary>Assigns queues to reactors. A <see cref="Reactor"/> always assigns itself.</summary>
public interface IReactors
{
    /// <summary>The reactors that exist now.</summary>
    IReadOnlyList<Reactor> Reactors { get; }

    /// <summary>Takes the reactor for one more queue.</summary>
    Reactor Take();

    /// <summary>Ends a <see cref="Take"/>: the queue has left the reactor. Not on the reactor's own thread.</summary>
    void Release(Reactor reactor);
}
