using Blkring.Abi;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Memory;
using Blkring.Engine.Telemetry;
using Blkring.Interop;

namespace Blkring.Loopback;

/// <summary>
/// A loopback domain, in this process or another, as the backend sees it: acts as the hypervisor for one ring.
/// </summary>
public sealed unsafe class LoopbackRingAccess : RingAccess
{
    private readonly GuestMemory _memory;
    private readonly LoopbackPorts _ports;
    private readonly DomainId _backend;
    private readonly Arena _arena = new(Arena.PageBytes);
    private readonly ulong* _counter;
    private readonly LoopbackGrants _grants;

    private MappedMemory? _ring;
    private GrantReference[] _mapped = [];
    private int _grantLimit;
    private EventChannelPort _port;
    private FileDescriptor? _incoming,
        _outgoing;

    /// <param name="memory">The guest's memory as this side has it mapped; owned from here on, as are the
    /// ports.</param>
    internal LoopbackRingAccess(GuestMemory memory, DomainId frontend, DomainId backend, LoopbackPorts ports)
    {
        (_memory, Frontend, _backend, _ports) = (memory, frontend, backend, ports);
        _counter = _arena.Take<ulong>(1);
        _grants = new LoopbackGrants(memory, frontend, backend);
    }

    /// <summary>Makes one for a domain of this process, with duplicates of its descriptors.</summary>
    public static LoopbackRingAccess For(LoopbackDomain domain) =>
        new(
            GuestMemory.Open(Duplicate(domain.Memory.Descriptor), domain.Memory.Frames, domain.Memory.Grants),
            domain.Id,
            domain.Backend,
            new DomainPorts(domain)
        );

    public override DomainId Frontend { get; }

    public LoopbackGrants Grants => _grants;

    public override void SetGrantLimit(int pages) => _grantLimit = pages;

    public override byte* MapRing(ReadOnlySpan<GrantReference> references)
    {
        if (references.Length > _grantLimit)
            throw new VbdConnectException($"{references.Length} ring pages, the grant limit is {_grantLimit}");
        MappedMemory ring = MappedMemory.Anonymous((nuint)references.Length * GuestMemory.PageBytes, populate: false);
        try
        {
            for (int i = 0; i < references.Length; i++)
                MapPage(references[i], ring.Address + ((nint)i * GuestMemory.PageBytes));
        }
        catch
        {
            ring.Dispose();
            throw;
        }
        _mapped = references.ToArray();
        foreach (GrantReference reference in _mapped)
            _grants.SetMapped(reference.Value, writable: true);
        _ring = ring;
        return ring.Address;
    }

    private void MapPage(GrantReference reference, byte* place)
    {
        short status = _grants.TryResolve(reference.Value, forWriting: true, out uint frame);
        if (status != GrantTable.GntstOkay)
            throw new VbdConnectException(
                $"the ring's grant {reference} of domain {Frontend} cannot be mapped read-write: "
                    + XenNames.GrantStatus(status)
            );
        nint mapped = Libc.Mmap(
            (nint)place,
            GuestMemory.PageBytes,
            Libc.PROT_READ | Libc.PROT_WRITE,
            Libc.MAP_SHARED | Libc.MAP_FIXED,
            _memory.Descriptor,
            _memory.OffsetOf(frame)
        );
        if (mapped < 0)
            throw new VbdConnectException(
                $"the ring's grant {reference} cannot be mapped: {Errno.Describe((int)-mapped)}"
            );
    }

    public override void UnmapRing()
    {
        foreach (GrantReference reference in _mapped)
            _grants.SetUnmapped(reference.Value);
        _mapped = [];
        _ring?.Dispose();
        _ring = null;
    }

    public override void BindEventChannel(EventChannelPort port)
    {
        if (_ports.TryBind(port) is not var (incoming, outgoing))
            throw new VbdConnectException(
                $"event channel {port} of domain {Frontend} cannot be bound: no such port, or bound already"
            );
        (_port, _incoming, _outgoing) = (port, incoming, outgoing);
    }

    public override void UnbindEventChannel()
    {
        if (_incoming is null)
            return;
        _incoming.Dispose();
        _outgoing!.Dispose();
        (_incoming, _outgoing) = (null, null);
        _ports.Unbind(_port);
    }

    public override TResult Accept<TResult>(IRingVisitor<TResult> visitor)
    {
        if (_incoming is null)
            throw new InvalidOperationException("the event channel is not bound");
        return visitor.Visit(_grants, new LoopbackEventChannel(_incoming.Value, _outgoing!.Value, _counter));
    }

    protected override void Dispose(bool disposing)
    {
        if (!disposing)
            return;
        _ports.Dispose();
        _memory.Dispose();
        _arena.Dispose();
    }

    private static FileDescriptor Duplicate(int fd)
    {
        int copy = Libc.Dup(fd);
        return copy >= 0 ? new FileDescriptor(copy) : throw Errno.ToException("dup", copy);
    }
}
