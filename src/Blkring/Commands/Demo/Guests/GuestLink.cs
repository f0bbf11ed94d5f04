using Blkring.Engine.Queues;
using Blkring.Engine.Vbds;
using Blkring.Loopback;

namespace Blkring.Commands.Demo.Guests;

/// <summary>The guest has ended, or sent something invalid; the message is one line.</summary>
internal sealed class GuestLostException(string message) : Exception(message);

/// <summary>The backend's access to the guest's side, in this process or another.</summary>
internal abstract class GuestLink : IDisposable
{
    /// <summary>Makes the frontends and connects the device to them.</summary>
    public abstract void Connect(Vbd vbd, BlkifProtocol protocol);

    public abstract PhaseResult Run(int depth, double seconds);

    public abstract PhaseResult Sweep();

    /// <summary>Removes the frontends. The device must be stopped.</summary>
    public abstract void Detach();

    /// <summary>The requests answered since the connection, for a progress line. From any thread.</summary>
    public abstract long Completed { get; }

    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);
}

/// <summary>The guest's side in this process, on the calling thread.</summary>
internal sealed class LocalGuest(GuestOptions options) : GuestLink
{
    private readonly Guest _guest = new(options);

    public override void Connect(Vbd vbd, BlkifProtocol protocol)
    {
        IReadOnlyList<Frontend> frontends = _guest.Attach(protocol);
        vbd.Connect(
            frontends[0].Connection with
            {
                Rings = [.. frontends.SelectMany(frontend => frontend.Connection.Rings)],
            },
            new LoopbackHypervisor(frontends[0].Domain)
        );
    }

    public override PhaseResult Run(int depth, double seconds) => _guest.Run(depth, seconds);

    public override PhaseResult Sweep() => _guest.Sweep();

    public override void Detach() => _guest.Detach();

    public override long Completed => _guest.Completed;

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            _guest.Dispose();
    }
}
