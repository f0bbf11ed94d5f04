namespace Blkring.Engine;

/// <summary>
/// How one ring's frontend is reached: its grants, its ring pages, its event channel. One implementation a hypervisor interface: the
/// loopback here, libxen later. The control plane's view; what the data plane needs of it is handed to the queue by its own type.
/// </summary>
/// <remarks>Every step can be undone, also when later steps never happened; undoing twice is harmless (B17, B19).</remarks>
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

    /// <summary>Builds the queue for the mapped ring and the bound channel.</summary>
    public abstract VbdQueue CreateQueue(byte* sring, BlkifProtocol protocol, VbdQueueOptions options, Disk disk);

    /// <summary>Undoes what was done and frees the rest.</summary>
    public void Dispose()
    {
        UnbindEventChannel();
        UnmapRing();
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing)
    {
    }
}

/// <summary>A frontend that cannot be connected; the message is one line for the log and for xenstore's error node.</summary>
public sealed class VbdConnectException(string message) : Exception(message);

/// <summary>Picks the queue's four type parameters: grants and events are known to the maker, the disk and the ABI are chosen here.</summary>
public sealed unsafe class VbdQueueFactory<TGrants, TEvents>(
    byte* sring, BlkifProtocol protocol, VbdQueueOptions options, Disk disk, TGrants grants, TEvents events) : IDiskVisitor<VbdQueue>
    where TGrants : struct, IGrants
    where TEvents : struct, IEventChannel
{
    // A constructor parameter of pointer type cannot be captured.
    private readonly byte* _sring = sring;

    public VbdQueue Create() => disk.Accept(this);

    VbdQueue IDiskVisitor<VbdQueue>.Visit<TDisk>(TDisk io) => protocol switch
    {
        BlkifProtocol.Native => new VbdQueue<Abi.Blkif.Native, TGrants, TEvents, TDisk>(_sring, options, disk, grants, events, io),
        BlkifProtocol.X86_32 => new VbdQueue<Abi.Blkif.X86_32, TGrants, TEvents, TDisk>(_sring, options, disk, grants, events, io),
        BlkifProtocol.X86_64 => new VbdQueue<Abi.Blkif.X86_64, TGrants, TEvents, TDisk>(_sring, options, disk, grants, events, io),
        _ => throw new InvalidOperationException($"no ABI for protocol {protocol}"),
    };
}
