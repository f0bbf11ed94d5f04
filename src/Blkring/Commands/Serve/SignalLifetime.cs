using System.Runtime.InteropServices;
using Microsoft.Extensions.Hosting;

namespace Blkring.Commands.Serve;

/// <summary>
/// On SIGTERM, SIGINT or SIGHUP the daemon drains its devices and exits. A second signal ends the process at once, with
/// 128 + signal.
/// </summary>
internal sealed class SignalLifetime(IHostApplicationLifetime application) : IHostLifetime, IDisposable
{
    private readonly List<PosixSignalRegistration> _registrations = [];
    private int _signals;

    public Task WaitForStartAsync(CancellationToken cancellationToken)
    {
        foreach (
            (PosixSignal signal, int number) in (ReadOnlySpan<(PosixSignal, int)>)
                [(PosixSignal.SIGHUP, 1), (PosixSignal.SIGINT, 2), (PosixSignal.SIGTERM, 15)]
        )
            _registrations.Add(PosixSignalRegistration.Create(signal, context => Take(context, number)));
        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    private void Take(PosixSignalContext context, int number)
    {
        context.Cancel = true;
        if (Interlocked.Increment(ref _signals) > 1)
            Environment.Exit(ExitCode.Signal + number);
        application.StopApplication();
    }

    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registrations)
            registration.Dispose();
    }
}
