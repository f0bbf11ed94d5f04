using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;

namespace Blkring.Engine.Reactors;

/// <summary>
/// What the control plane wants done on a reactor's thread: actions that run there between passes. They may allocate
/// and throw; passes do neither.
/// </summary>
internal sealed class ReactorCommands(Waiter waiter)
{
    private const int AliveCheckMs = 1000;

    private readonly ConcurrentQueue<Command> _commands = new();
    private volatile bool _stopping;

    /// <summary>Whether the thread must not sleep.</summary>
    public bool Any => !_commands.IsEmpty || _stopping;

    /// <summary>Whether the thread has been told to end.</summary>
    public bool Stopping => _stopping;

    /// <summary>Tells the thread to end; a command that comes later is never run.</summary>
    public void Stop()
    {
        _stopping = true;
        waiter.Wake();
    }

    /// <summary>Runs an action on the thread and waits for it. Not on the thread itself.</summary>
    /// <exception cref="ObjectDisposedException">The thread has ended.</exception>
    public void Invoke(Action action, Thread thread, object owner)
    {
        Command command = new(action);
        _commands.Enqueue(command);
        waiter.Wake();
        while (!command.Done.Wait(AliveCheckMs))
            ObjectDisposedException.ThrowIf(!thread.IsAlive && !command.Done.IsSet, owner);
        if (command.Error is { } error)
            ExceptionDispatchInfo.Throw(error);
    }

    /// <summary>Runs the waiting commands. On the thread.</summary>
    public void RunAll()
    {
        while (_commands.TryDequeue(out Command? command))
        {
            try
            {
                command.Action();
            }
            catch (Exception error) when (command.Catch(error))
            {
                // Thrown again in Invoke.
            }
            command.Done.Set();
        }
    }

    private sealed class Command(Action action)
    {
        public Action Action { get; } = action;
        public ManualResetEventSlim Done { get; } = new();
        public Exception? Error { get; private set; }

        public bool Catch(Exception error)
        {
            Error = error;
            return true;
        }
    }
}
