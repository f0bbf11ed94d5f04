namespace Blkring.Engine.Hypervisor;

/// <summary>
/// How one ring's frontend is reached: its grants, its ring pages, its event channel. One implementation a hypervisor
/// interface: the loopback here, libxen later. The control plane's view; what the data plane needs of it is handed to
/// the queue by its own type.
/// </summary>
/// <remarks>
/// Every step can be undone, also when later steps never happened; undoing twice is harmless (B17, B19).
/// </remarks>
public abstract unsafe class RingAccess : IDisposable
{
    public abstract DomainId Frontend { get; }

    /// <summary>Raises the number of grants that may be mapped (xengnttab_set_max_grants).</summary>
    public abstract void SetGrantLimit(int pages);

    /// <summary>Maps the ring pages contiguously, read-write.</summary>
    /// <exception cref="VbdConnectException">A reference cannot be mapped; nothing stays mapped.</exception>
    public abstract byte* MapRing(ReadOnlySpan<GrantReference> references);

    public abstract void UnmapRing();

    /// <exception cref="VbdConnectException">The port cannot be bound.</exception>
    public abstract void BindEventChannel(EventChannelPort port);

    public abstract void UnbindEventChannel();

    /// <summary>
    /// Hands the data plane's side of this ring, for the mapped pages and the bound channel, to
    /// <paramref name="visitor"/> by its own types.
    /// </summary>
    public abstract TResult Accept<TResult>(IRingVisitor<TResult> visitor);

    /// <summary>Undoes what was done and frees the rest.</summary>
    public void Dispose()
    {
        UnbindEventChannel();
        UnmapRing();
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing) { }
}

/// <summary>Receives what a queue works with, as the struct types that it is compiled for.</summary>
public interface IRingVisitor<out TResult>
{
    TResult Visit<TGrants, TEvents>(TGrants grants, TEvents events)
        where TGrants : struct, IGrants
        where TEvents : struct, IEventChannel;
}
