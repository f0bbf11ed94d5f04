namespace Blkring.Engine.Hypervisor;

/// <summary>
/// The access to one ring's frontend: its grants, its ring pages, its event channel. There is one implementation for
/// Xen's libraries and one for the loopback. This is the control plane's view; the data plane gets its part as struct
/// types.
/// </summary>
/// <remarks>
/// Every step can be undone, even if the steps after it never happened; undoing twice is harmless (B17, B19).
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
    /// Calls the visitor with the data plane's side of this ring, for the mapped pages and the bound channel, as its
    /// own types.
    /// </summary>
    public abstract TResult Accept<TResult>(IRingVisitor<TResult> visitor);

    /// <summary>Undoes the steps that were taken and frees the handles.</summary>
    public void Dispose()
    {
        UnbindEventChannel();
        UnmapRing();
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing) { }
}

/// <summary>Receives a queue's neighbours as the struct types for which the queue is compiled.</summary>
public interface IRingVisitor<out TResult>
{
    TResult Visit<TGrants, TEvents>(TGrants grants, TEvents events)
        where TGrants : struct, IGrants
        where TEvents : struct, IEventChannel;
}
