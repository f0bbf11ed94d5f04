using System.Runtime.InteropServices;

namespace Blkring.Commands.Serve;

/// <summary>
/// SIGTERM, SIGINT or SIGHUP asks the daemon to drain its devices and exit. A second signal ends the process at once,
/// with 128 + signal.
/// </summary>
internal sealed class StopSignals : IDisposable
{
    private readonly TaskCompletionSource _first = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly PosixSignalRegistration[] _registrations;
    private int _signals;

    public StopSignals() =>
        _registrations = [
            PosixSignalRegistration.Create(PosixSignal.SIGHUP, context => Take(context, 1)),
            PosixSignalRegistration.Create(PosixSignal.SIGINT, context => Take(context, 2)),
            PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => Take(context, 15)),
        ];

    /// <summary>Completes with the first signal.</summary>
    public Task First => _first.Task;

    private void Take(PosixSignalContext context, int number)
    {
        context.Cancel = true;
        if (Interlocked.Increment(ref _signals) > 1)
            Environment.Exit(ExitCode.Signal + number);
        _first.SetResult();
    }

    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registrations)
            registration.Dispose();
    }
}
