using System.Runtime.InteropServices;

namespace Blkring.Commands;

/// <summary>
/// Ctrl-C and its kin while something must be put away: what was registered runs, then the process ends with 128 +
/// signal. It does not wait for the work under way: a disk that hangs must not keep a person from leaving.
/// </summary>
internal sealed class Interruption : IDisposable
{
    private readonly Lock _lock = new();
    private readonly Stack<Action> _cleanups = new();
    private readonly PosixSignalRegistration[] _registrations;

    public Interruption() =>
        _registrations = [
            PosixSignalRegistration.Create(PosixSignal.SIGINT, context => End(context, 2)),
            PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => End(context, 15)),
            PosixSignalRegistration.Create(PosixSignal.SIGHUP, context => End(context, 1)),
        ];

    /// <summary>
    /// Registers what must not stay behind. The action must bear being run when there is nothing left to do.
    /// </summary>
    public void OnEnd(Action cleanup)
    {
        lock (_lock)
            _cleanups.Push(cleanup);
    }

    private void End(PosixSignalContext context, int signal)
    {
        context.Cancel = true;
        lock (_lock)
        {
            while (_cleanups.TryPop(out Action? cleanup))
                cleanup();
            Console.Error.WriteLine("blkring: interrupted");
            Environment.Exit(ExitCode.Signal + signal);
        }
    }

    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registrations)
            registration.Dispose();
    }
}
