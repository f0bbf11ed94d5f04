using Blkring.Abi;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Telemetry;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Kit;

internal sealed record RigOptions
{
    public int RingPages { get; init; } = 1;
    public long Sectors { get; init; } = 4096;

    /// <summary>The disk itself cannot be written.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>The disk can be written, but the toolstack configured it read-only.</summary>
    public bool ReadOnlyMode { get; init; }
    public int? MaxInFlight { get; init; }
    public uint RingIndex { get; init; }
    public Throttle? Throttle { get; init; }
    public TimeProvider? Clock { get; init; }

    /// <summary>What the backend offers; the frontend has as many pages per request.</summary>
    public int MaxIndirectSegments { get; init; }
    public int? IndirectMemoryBytes { get; init; }

    /// <summary>With <see cref="GrantMode.Persistent"/> the frontend has the feature too.</summary>
    public GrantMode GrantMode { get; init; }
    public int? MaxPersistentGrants { get; init; }

    /// <summary>4096 makes it a 4Kn disk.</summary>
    public int AlignmentBytes { get; init; } = Engine.Disks.Disk.SectorBytes;
    public bool NativeSectors { get; init; }

    /// <summary>Another queue of the same disk; null makes one of its own.</summary>
    public ScriptedDisk? Disk { get; init; }

    /// <summary>None, so that a test need not wait.</summary>
    public TimeSpan RetryDelay { get; init; }

    /// <summary>The file in which the next daemon finds the requests in flight after a kill.</summary>
    public string? JournalPath { get; init; }

    /// <summary>What a full or lost disk refuses is kept for the next daemon.</summary>
    public bool KeepsLostRequests { get; init; }

    /// <summary>Kills the daemon, and all the queues in it; null lets it live.</summary>
    public Mortality? Life { get; init; }

    /// <summary>There are also steps within the ring's own codec: <see cref="MortalAbi"/>.</summary>
    public bool DiesInCodec { get; init; }
}

/// <summary>
/// One queue on a loopback frontend and a scripted disk, turned by the test itself: no reactor, no thread, no time. Its
/// daemon can be killed at any step, and another one takes the ring over.
/// </summary>
/// <remarks>
/// The rig records what the queue should never do. <see cref="Verify"/> fails if there is any of it. If a test does not
/// call it, <see cref="VerifiesRigsAttribute"/> does so after the test.
/// </remarks>
internal sealed unsafe class Rig : IDisposable
{
    private readonly bool _indirect;
    private readonly RigOptions _options;
    private readonly List<string> _violations = [];
    private int _number;
    private bool _closed;

    public Rig(BlkifProtocol protocol, RigOptions? options = null)
    {
        _options = options ??= new RigOptions();
        _indirect = options.MaxIndirectSegments > 0;
        int segments = Math.Max(options.MaxIndirectSegments, Blkif.MaxSegmentsPerRequest);
        Domain = Frontend.CreateDomain(new DomainId(7), options.RingPages, segments: segments);
        Frontend = Frontend.Create(Domain, protocol, options.RingPages, options.RingIndex, segments);
        Frontend.PersistentGrants = options.GrantMode == GrantMode.Persistent;
        Disk = options.Disk ?? new ScriptedDisk(options.Sectors, options.ReadOnly, options.AlignmentBytes);
        Witness = new Witness(options.Life ?? new Mortality());
        Identity = new RingIdentity(
            Domain.Id,
            protocol,
            options.RingPages,
            Frontend.RingReferences[0],
            Frontend.Channel.Port
        );
        Queue = CreateQueue(takesOver: false);
        Violations.Open(this);
    }

    private LoopbackGrants Grants => new(Domain.Memory, Domain.Id, Domain.Backend);

    private VbdQueue CreateQueue(bool takesOver)
    {
        VbdQueueOptions queueOptions = new()
        {
            RingPages = _options.RingPages,
            Frontend = Domain.Id,
            ReadOnly = _options.ReadOnlyMode,
            MaxInFlight = _options.MaxInFlight,
            RingIndex = takesOver ? Frontend.Header.RspProd : _options.RingIndex,
            Takeover = takesOver,
            Journal = _options.JournalPath is { } path ? new RingJournal(path, Identity) : null,
            KeepsLostRequests = _options.KeepsLostRequests,
            Throttle = _options.Throttle,
            Clock = _options.Clock ?? TimeProvider.System,
            RetryDelay = _options.RetryDelay,
            MaxIndirectSegments = _options.MaxIndirectSegments,
            GrantMode = _options.GrantMode,
            MaxPersistentGrants = _options.MaxPersistentGrants,
            NativeSectors = _options.NativeSectors,
            IndirectMemoryBytes = _options.IndirectMemoryBytes ?? VbdQueueOptions.DefaultIndirectMemoryBytes,
        };
        VbdQueue queue = _options.DiesInCodec
            ? MortalAbi.CreateQueue(
                Frontend.Sring,
                queueOptions,
                Disk,
                new WitnessedGrants(Grants, Witness),
                new WitnessedEvents(Witness),
                Life
            )
            : new VbdQueueFactory(Frontend.Sring, Frontend.Protocol, queueOptions, Disk).Visit(
                new WitnessedGrants(Grants, Witness),
                new WitnessedEvents(Witness)
            );
        queue.AttachDisk(0, ring: null);
        queue.AttachRing();
        return queue;
    }

    /// <summary>
    /// Another daemon takes the ring over, on a disk that it opened itself. The daemon before it was killed, and only
    /// its journal is left.
    /// </summary>
    /// <param name="takesOver">False: the ring is connected anew, and what was under way is forgotten.</param>
    public void NextDaemon(ScriptedDisk disk, bool takesOver = true)
    {
        byte[] left = File.ReadAllBytes(_options.JournalPath!);
        Witness.UnmapAll(Grants);
        Queue.Dispose();
        File.WriteAllBytes(_options.JournalPath!, left);
        _violations.AddRange(Disk.Violations);
        Disk = disk;
        Queue = CreateQueue(takesOver);
        Queue.NotifyFrontend();
    }

    public LoopbackDomain Domain { get; }
    public Frontend Frontend { get; }
    public ScriptedDisk Disk { get; private set; }
    public VbdQueue Queue { get; private set; }
    public Witness Witness { get; }
    public Mortality Life => Witness.Life;

    /// <summary>The ring that a journal is opened for.</summary>
    public RingIdentity Identity { get; set; }
    public QueueStatistics Statistics => Queue.Statistics;

    /// <summary>A request that uses the pages of the next request number.</summary>
    public Blkif.DecodedRequest Request(int operation, ulong sector, params (int First, int Last)[] segments) =>
        Requests.Of(Frontend, _number++, operation, sector, segments);

    /// <summary>An INDIRECT request, its list filled in; the list is that of the next request number.</summary>
    public Blkif.DecodedRequest Indirect(int operation, ulong sector, params (int First, int Last)[] segments)
    {
        Blkif.DecodedRequest request = Requests.Of(Frontend, _number++, operation, sector);
        int number = NumberOf(in request);
        for (int i = 0; i < segments.Length; i++)
        {
            Frontend.SegmentListOf(number)[i] = new Blkif.RequestSegment
            {
                Gref = Frontend.GrantOf(number, i, readOnly: operation != Blkif.OpRead).Value,
                FirstSect = (byte)segments[i].First,
                LastSect = (byte)segments[i].Last,
            };
        }
        Frontend.MakeIndirect(ref request, number, operation, segments.Length);
        return request;
    }

    public Blkif.DecodedRequest Discard(ulong sector, ulong sectors) => Requests.Discard(_number++, sector, sectors);

    /// <summary>Number of the request, by which its pages are found.</summary>
    public int NumberOf(in Blkif.DecodedRequest request) => (int)(request.Id & 0xffff) % Frontend.EntryCount;

    /// <summary>The bytes that a request's segments cover in the guest, one after the other.</summary>
    public byte[] GuestBytes(in Blkif.DecodedRequest request)
    {
        List<byte> bytes = [];
        for (int i = 0; i < request.NrSegments; i++)
            bytes.AddRange(GuestSegment(in request, i));
        return [.. bytes];
    }

    /// <summary>The segment as the guest gave it, in the request or in its list.</summary>
    public Blkif.RequestSegment SegmentOf(in Blkif.DecodedRequest request, int segment) =>
        request.Operation == Blkif.OpIndirect
            ? Frontend.SegmentListOf(NumberOf(in request))[segment]
            : request.Seg[segment];

    public Span<byte> GuestSegment(in Blkif.DecodedRequest request, int segment)
    {
        Blkif.RequestSegment at = SegmentOf(in request, segment);
        return new Span<byte>(
            Frontend.BufferOf(NumberOf(in request), segment) + (at.FirstSect * Engine.Disks.Disk.SectorBytes),
            (at.LastSect - at.FirstSect + 1) * Engine.Disks.Disk.SectorBytes
        );
    }

    /// <summary>
    /// Fills the request's pages with bytes that depend on the request and the place, margins included.
    /// </summary>
    public void FillGuest(in Blkif.DecodedRequest request)
    {
        for (int i = 0; i < request.NrSegments; i++)
        {
            byte* page = Frontend.BufferOf(NumberOf(in request), i);
            for (int b = 0; b < GuestMemory.PageBytes; b++)
                page[b] = (byte)((b >> 9) + (b * 7) + (i * 31) + ((int)request.Id * 13) + 1);
        }
    }

    public void Put(in Blkif.DecodedRequest request) => Frontend.Put(in request);

    /// <summary>Turns the queue until it wants no further turn.</summary>
    public PassResult Run()
    {
        for (int turns = 0; turns < 100_000; turns++)
        {
            PassResult result = Queue.RunPass();
            if (result != PassResult.More)
                return result;
        }
        throw new InvalidOperationException("the queue never comes to rest");
    }

    /// <summary>Pushes the requests, and turns the queue until it rests.</summary>
    public PassResult PushAndRun()
    {
        Frontend.Push();
        return Run();
    }

    /// <summary>Completes all disk operations, and those that follow from them.</summary>
    public void FinishDisk()
    {
        while (Disk.UnderWay.Length > 0)
        {
            Disk.CompleteAll();
            Run();
        }
    }

    public List<Blkif.DecodedResponse> Responses()
    {
        List<Blkif.DecodedResponse> responses = [];
        Blkif.DecodedResponse response = default;
        while (Frontend.TryTake(ref response))
            responses.Add(response);
        return responses;
    }

    /// <summary>Posts one request alone, lets it finish, and returns its status; the response is its own.</summary>
    public int StatusOf(in Blkif.DecodedRequest request)
    {
        Put(in request);
        PushAndRun();
        FinishDisk();
        Blkif.DecodedResponse response = Assert.Single(Responses());
        Assert.Equal(request.Id, response.Id);
        Assert.Equal(
            _indirect && request.Operation == Blkif.OpIndirect ? AnsweredAs(in request) : request.Operation,
            response.Operation
        );
        return response.Status;
    }

    /// <summary>
    /// The response to an INDIRECT request names the READ or WRITE that it was. If it was neither, or INDIRECT is not
    /// offered, it names INDIRECT.
    /// </summary>
    private static byte AnsweredAs(in Blkif.DecodedRequest request) =>
        request.IndirectOp is Blkif.OpRead or Blkif.OpWrite ? request.IndirectOp : request.Operation;

    public List<Fault> Faults()
    {
        List<Fault> faults = [];
        while (Queue.Faults.TryRead(out Fault fault))
            faults.Add(fault);
        return faults;
    }

    /// <summary>Ends the rig, and fails if the queue did anything that it never should.</summary>
    public void Verify()
    {
        Close();
        string[] found = [.. _violations];
        _violations.Clear();
        Violations.ThrowIfAny(found);
    }

    public void Dispose()
    {
        Close();
        foreach (string violation in _violations)
            Violations.Report(violation);
        _violations.Clear();
    }

    private void Close()
    {
        if (_closed)
            return;
        _closed = true;
        Violations.Close(this);
        Life.StepsLeft = Mortality.Immortal;
        // As the reactor does. Requests that the test left in flight keep what they hold.
        bool idle = Queue.InFlight == 0;
        if (idle)
            Queue.DetachDisk();
        int mapped = Witness.MappedPages - Witness.UnmappedPages;
        if (idle && mapped != 0)
            _violations.Add($"{mapped} pages stay mapped");
        Queue.Dispose();
        _violations.AddRange(Disk.Violations);
        _violations.AddRange(Witness.Violations);
        Disk.Dispose();
        Domain.Dispose();
    }
}
