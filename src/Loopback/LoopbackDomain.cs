using Blkring.Abi;
using Blkring.Engine.Hypervisor;

namespace Blkring.Loopback;

/// <summary>
/// A guest without a hypervisor, as the guest sees it: its memory, its grant table and its ends of event channels. The
/// frontend's process owns it. <see cref="LoopbackRingAccess"/> is the same domain as the backend sees it.
/// </summary>
public sealed unsafe class LoopbackDomain : IDisposable
{
    /// <summary>The first entries of a grant table are reserved by Xen (GNTTAB_NR_RESERVED_ENTRIES).</summary>
    private const int ReservedGrants = 8;

    private readonly GuestMemory _memory;
    private readonly List<LoopbackChannel> _channels = [];
    private uint _nextFrame;
    private uint _nextGrant = ReservedGrants;

    /// <param name="frames">The number of pages of memory.</param>
    /// <param name="grants">The greatest number of grants.</param>
    public LoopbackDomain(DomainId id, int frames, int grants)
    {
        Id = id;
        _memory = GuestMemory.Create(frames, grants + ReservedGrants);
    }

    public DomainId Id { get; }

    /// <summary>The backend's domain, to which pages are granted.</summary>
    public DomainId Backend { get; init; }

    public GuestMemory Memory => _memory;

    /// <summary>Its event channels, in the order of their ports.</summary>
    public IReadOnlyList<LoopbackChannel> Channels => _channels;

    /// <summary>The port of the first channel. 0 is not a port in Xen.</summary>
    public static EventChannelPort FirstPort => new(1);

    /// <summary>Allocates a channel that the backend can bind (EVTCHNOP_alloc_unbound).</summary>
    public LoopbackChannel OpenChannel()
    {
        LoopbackChannel channel = new(new EventChannelPort(FirstPort.Value + (uint)_channels.Count));
        _channels.Add(channel);
        return channel;
    }

    internal LoopbackChannel? ChannelAt(EventChannelPort port)
    {
        uint index = port.Value - FirstPort.Value;
        return index < (uint)_channels.Count ? _channels[(int)index] : null;
    }

    /// <summary>Allocates consecutive frames, which are never freed.</summary>
    public uint TakeFrames(int count)
    {
        if (_nextFrame + count > _memory.Frames)
            throw new InvalidOperationException($"the loopback domain has only {_memory.Frames} frames");
        uint first = _nextFrame;
        _nextFrame += (uint)count;
        return first;
    }

    public byte* FrameAt(uint frame) => _memory.FrameAt(frame);

    /// <summary>Grants a page to the backend (gnttab_grant_foreign_access).</summary>
    public GrantReference Grant(uint frame, bool readOnly) => GrantTo(Backend, frame, readOnly);

    /// <summary>Grants a page to any domain.</summary>
    public GrantReference GrantTo(DomainId domain, uint frame, bool readOnly)
    {
        if (_nextGrant >= _memory.Grants)
            throw new InvalidOperationException($"the loopback domain has only {_memory.Grants} grants");
        GrantReference reference = new(_nextGrant++);
        Regrant(reference, domain, frame, readOnly);
        return reference;
    }

    /// <summary>Rewrites an entry in one store, so that the hypervisor's side never reads half of it.</summary>
    public void Regrant(GrantReference reference, DomainId domain, uint frame, bool readOnly)
    {
        GrantTable.GrantEntryV1 entry = default;
        entry.Flags = (ushort)(GrantTable.GtfPermitAccess | (readOnly ? GrantTable.GtfReadonly : 0));
        entry.Domid = domain.Value;
        entry.Frame = frame;
        Volatile.Write(ref *(ulong*)(_memory.Table + reference.Value), *(ulong*)&entry);
    }

    /// <summary>Revokes a grant: using it fails from now on.</summary>
    public void Revoke(GrantReference reference) => Volatile.Write(ref *(ulong*)(_memory.Table + reference.Value), 0);

    /// <summary>Whether the backend has the page mapped.</summary>
    public bool IsMapped(GrantReference reference) =>
        (_memory.Table[reference.Value].Flags & (GrantTable.GtfReading | GrantTable.GtfWriting)) != 0;

    public void Dispose()
    {
        foreach (LoopbackChannel channel in _channels)
            channel.Dispose();
        _memory.Dispose();
    }
}
