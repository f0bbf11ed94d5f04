using BenchmarkDotNet.Attributes;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Vbds;
using Blkring.Interop;
using Blkring.Loopback;

namespace Blkring.Micro;

/// <summary>
/// A full one-page ring of one-segment reads: put the requests, one pass of the backend on the null disk, take the
/// responses. Per request.
/// </summary>
public unsafe class RingPass
{
    private const int Entries = 32;
    private MappedMemory _memory = null!;
    private NullDisk _disk = null!;
    private VbdQueue _queue = null!;
    private Action _exchange = null!;

    [Params(BlkifProtocol.Native, BlkifProtocol.X86_32, BlkifProtocol.X86_64)]
    public BlkifProtocol Abi { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _memory = MappedMemory.Anonymous(4096, populate: true);
        _disk = new NullDisk(1 << 20);
        switch (Abi)
        {
            case BlkifProtocol.Native:
                Connect<Blkif.Native>();
                break;
            case BlkifProtocol.X86_32:
                Connect<Blkif.X86_32>();
                break;
            default:
                Connect<Blkif.X86_64>();
                break;
        }
    }

    private void Connect<TAbi>()
        where TAbi : struct, Blkif.IRing
    {
        Blkif.FrontRing<TAbi>.Initialise(_memory.Address, 1);
        Blkif.FrontRing<TAbi> front = Blkif.FrontRing<TAbi>.Attach(_memory.Address, 1);
        _queue = new VbdQueue<TAbi, NullGrants, NullEventChannel, NullDiskIo>(
            _memory.Address,
            new VbdQueueOptions(),
            _disk,
            default,
            default,
            default
        );
        _queue.AttachRing();
        Blkif.DecodedRequest request = default;
        request.NrSegments = 1;
        request.Seg[0].LastSect = 7;
        Blkif.DecodedResponse response = default;
        _exchange = () =>
        {
            for (uint i = 0; i < Entries; i++)
            {
                request.Id = i;
                front.PutRequest(in request);
            }
            front.PushRequests();
            _queue.RunPass();
            for (uint i = 0; i < Entries; i++)
            {
                front.TakeResponse(ref response);
                if (response.Id != i || response.Status != Blkif.RspOkay)
                    throw new InvalidOperationException("wrong response");
            }
        };
    }

    [Benchmark(OperationsPerInvoke = Entries)]
    public void Exchange() => _exchange();

    [GlobalCleanup]
    public void Cleanup()
    {
        _queue.Dispose();
        _disk.Dispose();
        _memory.Dispose();
    }
}

/// <summary>One request: copied off the ring and validated.</summary>
public unsafe class DecodeAndValidate
{
    private MappedMemory _memory = null!;
    private Blkif.BackRing<Blkif.X86_64> _ring;
    private Blkif.DecodedRequest _request;

    [Params(1, 11)]
    public int Segments { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _memory = MappedMemory.Anonymous(4096, populate: true);
        Blkif.FrontRing<Blkif.X86_64>.Initialise(_memory.Address, 1);
        Blkif.FrontRing<Blkif.X86_64> front = Blkif.FrontRing<Blkif.X86_64>.Attach(_memory.Address, 1);
        Blkif.DecodedRequest request = default;
        request.NrSegments = (ushort)Segments;
        for (int i = 0; i < Segments; i++)
            request.Seg[i].LastSect = 7;
        for (int i = 0; i < 32; i++)
            front.PutRequest(in request);
        front.PushRequests();
        _ring = Blkif.BackRing<Blkif.X86_64>.Attach(_memory.Address, 1);
    }

    [Benchmark]
    public int CopyAndMeasure()
    {
        _ring.CopyRequest(_ring.ReqCons++, ref _request);
        return RequestValidator.TryMeasure(in _request, 1 << 20, out int sectors)
            ? sectors
            : throw new InvalidOperationException("refused");
    }

    [GlobalCleanup]
    public void Cleanup() => _memory.Dispose();
}

/// <summary>One operation through the null disk's data plane.</summary>
public unsafe class NullDiskSubmit
{
    private NullDiskIo _io;
    private DiskOperation _operation = new() { Kind = DiskOperationKind.Read, LengthBytes = 4096 };

    [GlobalSetup]
    public void Setup() => _io = default;

    [Benchmark]
    public int Start() => _io.Start(in _operation);
}

/// <summary>
/// A whole request through the loopback, with checked grants and event channels, on a memory disk. Per request.
/// </summary>
public class LoopbackRequest
{
    private LoopbackDomain _domain = null!;
    private MemoryDisk _disk = null!;
    private Reactor _reactor = null!;
    private Vbd _vbd = null!;
    private Frontend _frontend = null!;

    [Params(1, 32)]
    public int Depth { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _domain = Frontend.CreateDomain(new DomainId(1), ringPages: 1);
        _frontend = Frontend.Create(_domain, BlkifProtocol.X86_64, ringPages: 1);
        _disk = new MemoryDisk(1 << 15);
        _reactor = new Reactor();
        _vbd = new Vbd(_disk, _reactor);
        _vbd.Connect(_frontend.Connection, new LoopbackHypervisor(_domain));
    }

    [Benchmark]
    public void Read()
    {
        Blkif.DecodedRequest request = default;
        request.NrSegments = 1;
        request.Seg[0].LastSect = 7;
        for (int i = 0; i < Depth; i++)
        {
            request.Id = (ulong)i;
            request.SectorNumber = (ulong)(i * 8);
            request.Seg[0].Gref = _frontend.GrantOf(i, 0, readOnly: false).Value;
            _frontend.Put(in request);
        }
        _frontend.Push();
        Blkif.DecodedResponse response = default;
        for (int answered = 0; answered < Depth; )
        {
            if (_frontend.TryTake(ref response))
            {
                if (response.Status != Blkif.RspOkay)
                    throw new InvalidOperationException($"status {response.Status}");
                answered++;
            }
            else if (!_frontend.FinalCheckForResponses() && !_frontend.WaitForEvent(10_000))
            {
                throw new InvalidOperationException("no answer");
            }
        }
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _vbd.Dispose();
        _reactor.Dispose();
        _disk.Dispose();
        _domain.Dispose();
    }
}
