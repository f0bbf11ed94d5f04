using System.Collections.Concurrent;
using System.Diagnostics;
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

    /// <summary>Has an action run on the thread, and does not wait for it. It must not throw.</summary>
    public void Post(Action action)
    {
        _commands.Enqueue(new Command(action));
        waiter.Wake();
    }

    /// <summary>Runs an action on the thread and waits for it. Not on the thread itself.</summary>
    /// <param name="patience">How long the thread may take to begin; it is not run if it takes longer.</param>
    /// <returns>False if the thread did not begin.</returns>
    /// <exception cref="ObjectDisposedException">The thread has ended.</exception>
    public bool TryInvoke(Action action, TimeSpan patience, Thread thread, object owner)
    {
        Command command = new(action);
        _commands.Enqueue(command);
        waiter.Wake();
        long start = Stopwatch.GetTimestamp();
        while (!command.Done.Wait(AliveCheckMs))
        {
            ObjectDisposedException.ThrowIf(!thread.IsAlive && !command.Done.IsSet, owner);
            if (
                patience != Timeout.InfiniteTimeSpan
                && Stopwatch.GetElapsedTime(start) >= patience
                && command.TryWithdraw()
            )
                return false;
        }
        if (command.Error is { } error)
            ExceptionDispatchInfo.Throw(error);
        return true;
    }

    /// <summary>Runs the waiting commands. On the thread.</summary>
    public void RunAll()
    {
        while (_commands.TryDequeue(out Command? command))
        {
            if (!command.TryBegin())
                continue;
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
        private int _claimed;

        public Action Action { get; } = action;
        public ManualResetEventSlim Done { get; } = new();
        public Exception? Error { get; private set; }

        /// <summary>The thread runs it from here on; false if it was withdrawn.</summary>
        public bool TryBegin() => Interlocked.Exchange(ref _claimed, 1) == 0;

        /// <summary>It is not run any more; false if the thread has begun.</summary>
        public bool TryWithdraw() => Interlocked.Exchange(ref _claimed, 1) == 0;

        public bool Catch(Exception error)
        {
            Error = error;
            return true;
        }
    }
}
