using Blkring.Abi;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Vbds;
using Blkring.Interop;

namespace Blkring.Loopback;

/// <summary>
/// A blkif frontend in a loopback domain: the ring in one ABI and, for each segment of each request that can be in
/// flight, a buffer of one page with two grants (one of them read-only, for requests that write to the disk); with more
/// than 11 segments, also pages for the segment lists of INDIRECT requests. It can also send what no real guest would.
/// </summary>
public abstract unsafe class Frontend
{
    private static readonly int s_segmentsPerPage = GuestMemory.PageBytes / sizeof(Blkif.RequestSegment);

    private readonly uint _firstDataFrame,
        _firstListFrame;
    private readonly GrantReference[] _writable,
        _readOnly,
        _lists;
    private readonly int _listPages;

    private protected Frontend(
        LoopbackDomain domain,
        BlkifProtocol protocol,
        int ringPages,
        int entryCount,
        int segments
    )
    {
        (Domain, Protocol, RingPages, EntryCount) = (domain, protocol, ringPages, entryCount);
        (SegmentsPerRequest, _listPages) = (segments, ListPagesOf(segments));
        Channel = domain.OpenChannel();
        uint ringFrame = domain.TakeFrames(ringPages);
        Sring = domain.FrameAt(ringFrame);
        RingReferences =
        [
            .. Enumerable.Range(0, ringPages).Select(page => domain.Grant(ringFrame + (uint)page, readOnly: false)),
        ];

        int pages = entryCount * segments;
        _firstDataFrame = domain.TakeFrames(pages);
        _writable =
        [
            .. Enumerable.Range(0, pages).Select(page => domain.Grant(_firstDataFrame + (uint)page, readOnly: false)),
        ];
        _readOnly =
        [
            .. Enumerable.Range(0, pages).Select(page => domain.Grant(_firstDataFrame + (uint)page, readOnly: true)),
        ];
        _firstListFrame = domain.TakeFrames(entryCount * _listPages);
        _lists =
        [
            .. Enumerable
                .Range(0, entryCount * _listPages)
                .Select(page => domain.Grant(_firstListFrame + (uint)page, readOnly: true)),
        ];
    }

    /// <summary>
    /// Makes a domain with enough memory and grants for the frontends.
    /// </summary>
    /// <param name="sparePages">The number of further pages, for tests.</param>
    /// <param name="rings">The number of frontends.</param>
    /// <param name="segments">The number of segments per request; more than 11 are for INDIRECT.</param>
    public static LoopbackDomain CreateDomain(
        DomainId id,
        int ringPages,
        int sparePages = 16,
        int rings = 1,
        int segments = Blkif.MaxSegmentsPerRequest
    )
    {
        int pagesOfRing =
            ringPages + (Blkif.BackRing<Blkif.X86_32>.EntryCountFor(ringPages) * (segments + ListPagesOf(segments)));
        int pages = (rings * pagesOfRing) + sparePages;
        return new LoopbackDomain(id, pages, 2 * pages);
    }

    public static Frontend Create(
        LoopbackDomain domain,
        BlkifProtocol protocol,
        int ringPages,
        uint ringIndex = 0,
        int segments = Blkif.MaxSegmentsPerRequest
    ) =>
        protocol switch
        {
            BlkifProtocol.Native => new Frontend<Blkif.Native>(domain, protocol, ringPages, ringIndex, segments),
            BlkifProtocol.X86_32 => new Frontend<Blkif.X86_32>(domain, protocol, ringPages, ringIndex, segments),
            BlkifProtocol.X86_64 => new Frontend<Blkif.X86_64>(domain, protocol, ringPages, ringIndex, segments),
            _ => throw new ArgumentOutOfRangeException(nameof(protocol)),
        };

    // With at most 11 segments, no request is INDIRECT.
    private static int ListPagesOf(int segments) =>
        segments <= Blkif.MaxSegmentsPerRequest ? 0 : (segments + s_segmentsPerPage - 1) / s_segmentsPerPage;

    public LoopbackDomain Domain { get; }
    public LoopbackChannel Channel { get; }
    public BlkifProtocol Protocol { get; }
    public int RingPages { get; }
    public int EntryCount { get; }

    /// <summary>The number of buffer pages per request; more than 11 are for INDIRECT.</summary>
    public int SegmentsPerRequest { get; }

    /// <summary>The shared ring, as this side has it mapped.</summary>
    public byte* Sring { get; }

    public GrantReference[] RingReferences { get; }

    /// <summary>What the frontend would write to xenstore.</summary>
    public VbdConnection Connection =>
        new()
        {
            Frontend = Domain.Id,
            Protocol = Protocol switch
            {
                BlkifProtocol.X86_32 => Blkif.XenIoProtoAbiX86_32,
                BlkifProtocol.X86_64 => Blkif.XenIoProtoAbiX86_64,
                _ => BlkifProtocols.NativeName,
            },
            Rings = [new VbdRing { References = RingReferences, EventChannel = Channel.Port }],
            PersistentGrants = PersistentGrants,
        };

    /// <summary>The buffer of one segment, one page.</summary>
    /// <param name="request">The number of the request, below <see cref="EntryCount"/>.</param>
    public byte* BufferOf(int request, int segment) =>
        Domain.FrameAt(_firstDataFrame + (uint)((request * SegmentsPerRequest) + segment));

    /// <summary>
    /// feature-persistent: the same grants serve every request, so all of them are writable, and the backend may keep
    /// them mapped.
    /// </summary>
    public bool PersistentGrants { get; set; }

    /// <summary>The grant of that buffer; a read-only one is enough if the backend only reads the buffer.</summary>
    public GrantReference GrantOf(int request, int segment, bool readOnly) =>
        (readOnly && !PersistentGrants ? _readOnly : _writable)[(request * SegmentsPerRequest) + segment];

    /// <summary>The segment list of an INDIRECT request, in consecutive pages.</summary>
    public Blkif.RequestSegment* SegmentListOf(int request) =>
        (Blkif.RequestSegment*)Domain.FrameAt(_firstListFrame + (uint)(request * _listPages));

    /// <summary>Makes a request INDIRECT, with the segments of its list.</summary>
    /// <param name="number">The number of the request.</param>
    /// <param name="segments">The number of segments.</param>
    public void MakeIndirect(ref Blkif.DecodedRequest request, int number, int operation, int segments)
    {
        request.Operation = Blkif.OpIndirect;
        request.IndirectOp = (byte)operation;
        request.NrSegments = (ushort)segments;
        for (int page = 0; page < _listPages; page++)
            request.IndirectGrefs[page] = _lists[(number * _listPages) + page].Value;
    }

    public abstract uint FreeRequests { get; }

    /// <summary>Puts a request on the ring unchecked; <see cref="Push"/> makes it visible to the backend.</summary>
    public abstract void Put(in Blkif.DecodedRequest request);

    /// <summary>Makes the requests visible to the backend and notifies it if it has asked for an event.</summary>
    /// <returns>Whether it was notified.</returns>
    public abstract bool Push();

    /// <summary>Takes the next response, if there is one.</summary>
    public abstract bool TryTake(ref Blkif.DecodedResponse response);

    /// <summary>
    /// The final check before a sleep: true if there are responses; otherwise the backend will send an event.
    /// </summary>
    public abstract bool FinalCheckForResponses();

    /// <summary>req_prod in the shared page, where a hostile guest can write any value.</summary>
    public ref uint SharedRequestProducer => ref ((Blkif.Sring*)Sring)->ReqProd;

    public ref Blkif.Sring Header => ref *(Blkif.Sring*)Sring;

    /// <summary>The bytes of a ring entry in the shared page.</summary>
    public abstract byte* EntryAt(uint index);

    public void Notify() => Channel.Outgoing.Signal();

    /// <summary>Waits for the backend's notification.</summary>
    /// <returns>False if none came in time.</returns>
    public bool WaitForEvent(int timeoutMs)
    {
        pollfd entry = new() { fd = Channel.Incoming.Value, events = Libc.POLLIN };
        if (Libc.Poll(&entry, 1, timeoutMs) <= 0)
            return false;
        return Channel.Incoming.TryConsume();
    }
}

/// <summary>A frontend whose ring has the layout of <typeparamref name="TAbi"/>.</summary>
public sealed unsafe class Frontend<TAbi> : Frontend
    where TAbi : struct, Blkif.IRing
{
    private Blkif.FrontRing<TAbi> _ring;

    internal Frontend(LoopbackDomain domain, BlkifProtocol protocol, int ringPages, uint ringIndex, int segments)
        : base(domain, protocol, ringPages, Blkif.BackRing<TAbi>.EntryCountFor(ringPages), segments)
    {
        Blkif.FrontRing<TAbi>.Initialise(Sring, ringPages);
        if (ringIndex != 0)
        {
            // The state of a ring after this many requests, all of them answered.
            Header.ReqProd = Header.RspProd = ringIndex;
            Header.ReqEvent = Header.RspEvent = ringIndex + 1;
        }
        _ring = Blkif.FrontRing<TAbi>.Attach(Sring, ringPages, ringIndex);
    }

    public override uint FreeRequests => _ring.FreeRequests();

    public override void Put(in Blkif.DecodedRequest request) => _ring.PutRequest(in request);

    public override bool Push()
    {
        if (!_ring.PushRequests())
            return false;
        Notify();
        return true;
    }

    public override bool TryTake(ref Blkif.DecodedResponse response)
    {
        if (_ring.UnconsumedResponses() == 0)
            return false;
        _ring.TakeResponse(ref response);
        return true;
    }

    public override bool FinalCheckForResponses() => _ring.FinalCheckForResponses();

    public override byte* EntryAt(uint index) => _ring.EntryAt(index);
}
