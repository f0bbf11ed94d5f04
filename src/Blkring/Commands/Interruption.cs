using System.Runtime.InteropServices;

namespace Blkring.Commands;

/// <summary>
/// Runs the registered clean-up on SIGINT, SIGTERM or SIGHUP and exits with 128 + signal. It does not wait for work in
/// progress: a disk that hangs must not keep the process alive.
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
    /// Registers a clean-up. The action must be harmless when there is nothing left to clean up.
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
