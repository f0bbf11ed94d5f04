using Blkring.Engine.Hypervisor;
using Blkring.Interop;

namespace Blkring.Loopback;

/// <summary>An event channel of a loopback domain, seen from the guest.</summary>
public sealed class LoopbackChannel : IDisposable
{
    private int _bound;

    internal LoopbackChannel(EventChannelPort port) => Port = port;

    public EventChannelPort Port { get; }

    /// <summary>
    /// Signalled by the backend. Non-blocking: the guest could fill the counter, which must not block the backend's
    /// thread.
    /// </summary>
    public EventFd Incoming { get; } = new();

    /// <summary>Signals the backend.</summary>
    public EventFd Outgoing { get; } = new(blocking: true);

    /// <summary>Whether a backend has bound the channel.</summary>
    public bool IsBound => Volatile.Read(ref _bound) != 0;

    /// <summary>Binds it, as EVTCHNOP_bind_interdomain. False if it is bound already.</summary>
    internal bool TryBind() => Interlocked.Exchange(ref _bound, 1) == 0;

    /// <summary>Unbinds it, as when a backend closes its end: it can be bound again.</summary>
    internal void Unbind() => Volatile.Write(ref _bound, 0);

    public void Dispose()
    {
        Incoming.Dispose();
        Outgoing.Dispose();
    }
}

/// <summary>A guest's event channels as the backend's side finds them.</summary>
internal abstract class LoopbackPorts : IDisposable
{
    /// <summary>
    /// The two descriptors of a port, the caller's from here on; null when there is no such port, or it is bound.
    /// </summary>
    public abstract (FileDescriptor Incoming, FileDescriptor Outgoing)? TryBind(EventChannelPort port);

    public abstract void Unbind(EventChannelPort port);

    public virtual void Dispose() { }

    protected static FileDescriptor Duplicate(int fd)
    {
        int copy = Libc.Dup(fd);
        return copy >= 0 ? new FileDescriptor(copy) : throw Errno.ToException("dup", copy);
    }
}

/// <summary>The ports of a domain in this process.</summary>
internal sealed class DomainPorts(LoopbackDomain domain) : LoopbackPorts
{
    public override (FileDescriptor Incoming, FileDescriptor Outgoing)? TryBind(EventChannelPort port)
    {
        if (domain.ChannelAt(port) is not { } channel || !channel.TryBind())
            return null;
        // The backend's incoming end is the guest's outgoing one.
        FileDescriptor incoming = Duplicate(channel.Outgoing.Value);
        try
        {
            return (incoming, Duplicate(channel.Incoming.Value));
        }
        catch
        {
            incoming.Dispose();
            channel.Unbind();
            throw;
        }
    }

    public override void Unbind(EventChannelPort port) => domain.ChannelAt(port)?.Unbind();
}

/// <summary>The port that a frontend in another process has passed with its offer.</summary>
internal sealed class OfferedPort(FileDescriptor incoming, FileDescriptor outgoing) : LoopbackPorts
{
    private bool _bound;

    public override (FileDescriptor Incoming, FileDescriptor Outgoing)? TryBind(EventChannelPort port)
    {
        if (port != LoopbackDomain.FirstPort || _bound)
            return null;
        _bound = true;
        return (Duplicate(incoming.Value), Duplicate(outgoing.Value));
    }

    public override void Unbind(EventChannelPort port) => _bound = false;

    public override void Dispose()
    {
        incoming.Dispose();
        outgoing.Dispose();
    }
}
