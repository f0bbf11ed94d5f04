using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;

namespace Blkring.Engine.Queues;

/// <summary>
/// Builds the queue of one ring. Its four type parameters come from three places: the ABI from the frontend's protocol,
/// grants and event channel from the ring, the I/O from the disk.
/// </summary>
/// <param name="sring">The ring pages, contiguous and mapped read-write for as long as the queue lives.</param>
public sealed unsafe class VbdQueueFactory(byte* sring, BlkifProtocol protocol, VbdQueueOptions options, Disk disk)
    : IRingVisitor<VbdQueue>
{
    // A constructor parameter of pointer type cannot be captured.
    private readonly byte* _sring = sring;

    public BlkifProtocol Protocol => protocol;

    public VbdQueue Create(RingAccess ring) => ring.Accept(this);

    public VbdQueue Visit<TGrants, TEvents>(TGrants grants, TEvents events)
        where TGrants : struct, IGrants
        where TEvents : struct, IEventChannel => disk.Accept(new OnDisk<TGrants, TEvents>(this, grants, events));

    private VbdQueue Create<TGrants, TEvents, TDisk>(TGrants grants, TEvents events, TDisk io)
        where TGrants : struct, IGrants
        where TEvents : struct, IEventChannel
        where TDisk : struct, IDiskIo =>
        protocol switch
        {
            BlkifProtocol.Native => new VbdQueue<Blkif.Native, TGrants, TEvents, TDisk>(
                _sring,
                options,
                disk,
                grants,
                events,
                io
            ),
            BlkifProtocol.X86_32 => new VbdQueue<Blkif.X86_32, TGrants, TEvents, TDisk>(
                _sring,
                options,
                disk,
                grants,
                events,
                io
            ),
            BlkifProtocol.X86_64 => new VbdQueue<Blkif.X86_64, TGrants, TEvents, TDisk>(
                _sring,
                options,
                disk,
                grants,
                events,
                io
            ),
            _ => throw new InvalidOperationException($"no ABI for protocol {protocol}"),
        };

    private sealed class OnDisk<TGrants, TEvents>(VbdQueueFactory factory, TGrants grants, TEvents events)
        : IDiskVisitor<VbdQueue>
        where TGrants : struct, IGrants
        where TEvents : struct, IEventChannel
    {
        public VbdQueue Visit<TDisk>(TDisk io)
            where TDisk : struct, IDiskIo => factory.Create(grants, events, io);
    }
}
