using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Memory;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Tests.Kit;
using Blkring.Engine.Vbds;
using Blkring.Interop;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Queues;

/// <summary>
/// B1, the line marked Better: the data path allocates nothing. Ten million requests, not a byte of garbage on the
/// threads that serve them, not a collection; and a disk that allocates shows that the gate can be missed.
/// </summary>
public sealed class AllocationGate
{
    // Debug builds keep no value in a register and inline nothing, but allocate the same: there a tenth shows it, in
    // the same time.
#if DEBUG
    private const int Requests = 1_000_000;
#else
    private const int Requests = 10_000_000;
#endif
    private const int FileRequests = 120_000;
    private const int LongSegments = 40;

    // Enough calls for every method to reach its last tier; what is compiled in the background comes in by and by.
    private const int WarmUpRequests = 200_000;

    [Theory, EveryAbi]
    [Proves("B1")]
    public void The_null_disk_serves_millions_of_requests_without_garbage(BlkifProtocol protocol)
    {
        using NullDisk disk = new(1 << 20);
        Assert.Equal(default, Measure(protocol, disk, Requests * 2 / 9, WarmUpRequests));
    }

    [Theory, EveryAbi]
    [Proves("B1")]
    public void The_memory_disk_serves_millions_of_requests_without_garbage(BlkifProtocol protocol)
    {
        // Two ninths and one ninth for each of three ABIs: ten million and a few more together.
        using MemoryDisk disk = new(1 << 14);
        Assert.Equal(default, Measure(protocol, disk, (Requests / 9) + 10, WarmUpRequests));
    }

    [Theory, EveryAbi]
    [Proves("B1", "F21")]
    public void A_file_serves_requests_through_io_uring_without_garbage(BlkifProtocol protocol)
    {
        using TempImage image = new(1 << 14);
        using FileDisk disk = image.Open(cache: CacheMode.Writeback);
        Assert.Equal(default, Measure(protocol, disk, FileRequests / 3, WarmUpRequests / 10));
    }

    /// <summary>
    /// Long requests among the others, in each mode, and with fewer persistent grants than pages: insertion and
    /// eviction all the time.
    /// </summary>
    [Theory, EveryAbi(GrantMode.Copy, GrantMode.Map, GrantMode.Persistent)]
    [Proves("B1", "F21")]
    public void Long_requests_and_mapped_pages_leave_no_garbage(BlkifProtocol protocol, GrantMode mode)
    {
        using MemoryDisk disk = new(1 << 14);
        VbdOptions options = new()
        {
            GrantMode = mode,
            MaxIndirectSegments = LongSegments,
            MaxPersistentGrants = 100,
            IndirectMemoryBytes = 1 << 20,
        };
        Assert.Equal(default, Measure(protocol, disk, FileRequests / 3, WarmUpRequests / 10, options));
    }

    [Theory, EveryAbi(true, false)]
    [Proves("B1", "F21")]
    public void Parts_of_blocks_leave_no_garbage(BlkifProtocol protocol, bool useIoUring)
    {
        using MemoryDisk disk = new(1 << 14, sectorBytes: Arena.PageBytes);
        Assert.Equal(
            default,
            Measure(
                protocol,
                disk,
                FileRequests / 3,
                WarmUpRequests / 10,
                new VbdOptions(),
                new Load { SectorOffset = 3, UseIoUring = useIoUring }
            )
        );
    }

    /// <summary>
    /// Barriers, flushes that wait together, discards, requests that can never be served and grants that are none,
    /// under a limit that holds them back, on a disk that now and then wants to be asked again or fails; with each way
    /// to the pages and each way to wait.
    /// </summary>
    [Theory, MemberData(nameof(EveryWay))]
    [Proves("B1", "F21")]
    public void Requests_of_every_kind_and_their_faults_leave_no_garbage(
        BlkifProtocol protocol,
        GrantMode mode,
        bool useIoUring
    )
    {
        using WrappedDisk<FailsNowAndThen> disk = new(1 << 14);
        Throttle throttle = new()
        {
            Limits = new ThrottleLimits { Iops = 200_000, BytesPerSecond = 10L << 30 },
        };
        VbdOptions options = new()
        {
            GrantMode = mode,
            MaxIndirectSegments = LongSegments,
            MaxPersistentGrants = 100,
            IndirectMemoryBytes = 1 << 20,
            Throttle = throttle,
        };
        Assert.Equal(
            default,
            Measure(
                protocol,
                disk,
                FileRequests / 3,
                WarmUpRequests / 10,
                options,
                new Load { Everything = true, UseIoUring = useIoUring }
            )
        );
        Assert.True(disk.State.Operations > FileRequests / 6);
    }

    /// <summary>Two rings on one thread, each of which gets a share of it.</summary>
    [Theory, MemberData(nameof(EveryWay))]
    [Proves("B1", "F21")]
    public void Several_rings_of_a_file_leave_no_garbage(BlkifProtocol protocol, GrantMode mode, bool useIoUring)
    {
        using TempImage image = new(1 << 14);
        using FileDisk disk = image.Open(cache: CacheMode.Writeback);
        VbdOptions options = new() { GrantMode = mode, MaxIndirectSegments = LongSegments };
        Assert.Equal(
            default,
            Measure(
                protocol,
                disk,
                FileRequests / 3,
                WarmUpRequests / 10,
                options,
                new Load { Rings = 2, UseIoUring = useIoUring }
            )
        );
    }

    public static TheoryData<BlkifProtocol, GrantMode, bool> EveryWay()
    {
        TheoryData<BlkifProtocol, GrantMode, bool> rows = [];
        foreach (BlkifProtocol protocol in Enum.GetValues<BlkifProtocol>())
        foreach (GrantMode mode in Enum.GetValues<GrantMode>())
        foreach (bool useIoUring in (bool[])[true, false])
            rows.Add(protocol, mode, useIoUring);
        return rows;
    }

    [Theory, EveryAbi]
    [Proves("B1")]
    public void A_disk_that_allocates_is_found_out(BlkifProtocol protocol)
    {
        using WrappedDisk<AllocatesNowAndThen> disk = new(1 << 14);
        Garbage garbage = Measure(protocol, disk, 20_000, 1000);
        Assert.InRange(garbage.ReactorBytes, 20 * 24, long.MaxValue);
        Assert.Equal(0, garbage.GuestBytes);
    }

    /// <summary>What a run left behind. All zeros is what is wanted.</summary>
    private readonly record struct Garbage(long ReactorBytes, long GuestBytes, int Collections);

    private sealed record Load
    {
        public int SectorOffset { get; init; }

        /// <summary>Not only reads, writes and a few flushes.</summary>
        public bool Everything { get; init; }
        public int Rings { get; init; } = 1;
        public bool UseIoUring { get; init; } = true;
    }

    private static Garbage Measure(
        BlkifProtocol protocol,
        Disk disk,
        int requests,
        int warmUp,
        VbdOptions? options = null,
        Load? load = null
    )
    {
        load ??= new Load();
        using Reactor reactor = new(new ReactorOptions { UseIoUring = load.UseIoUring });
        Assert.Equal(load.UseIoUring, reactor.UsesIoUring);
        using Device device = new(
            reactor,
            protocol,
            disk,
            ringPages: options is null ? 16 : 2,
            options,
            ownsDisk: false,
            segments: options is null ? Blkif.MaxSegmentsPerRequest : LongSegments,
            rings: load.Rings
        );
        Guest[] guests = [.. device.Frontends.Select(frontend => new Guest(frontend, load))];
        for (int part = 0; part < 4; part++)
        {
            Run(guests, warmUp / 4);
            // Lets the background compiler have a processor of a small machine.
            Thread.Sleep(50);
        }
        long answered = Answered(device);

        // Nothing but this and the reactor's thread runs: a collection would be of their garbage.
        GC.Collect();
        GC.WaitForPendingFinalizers();
        int collections = Collections();
        long reactorBytes = reactor.AllocatedBytes,
            guestBytes = GC.GetAllocatedBytesForCurrentThread();
        Run(guests, requests);
        // The figure is as of the thread's last wait: one more request lies behind a wait that came after all the
        // others.
        Run(guests, 1);
        Run(guests, 1);
        Garbage garbage = new(
            reactor.AllocatedBytes - reactorBytes,
            GC.GetAllocatedBytesForCurrentThread() - guestBytes,
            Collections() - collections
        );
        Assert.InRange(Answered(device) - answered, requests, requests + 2 + (2 * guests.Length));
        if (load.Everything)
            AssertEverything(device);
        else
            Assert.All(
                device.Vbd.Queues,
                queue =>
                    Assert.Equal(
                        0,
                        queue.Statistics.Read.Failed
                            + queue.Statistics.Read.Invalid
                            + queue.Statistics.Write.Failed
                            + queue.Statistics.Write.Invalid
                    )
            );
        return garbage;
    }

    /// <summary>Each of the things that are to leave no garbage happened.</summary>
    private static void AssertEverything(Device device)
    {
        QueueStatistics statistics = device.Queue.Statistics;
        Assert.True(
            statistics.Flush.Operations > 0 && statistics.MergedFlushes > 0 && statistics.Discard.Operations > 0
        );
        Assert.True(
            statistics.Retries > 0
                && statistics.Read.Failed > 0
                && statistics.Write.Failed > 0
                && statistics.Read.Invalid > 0
                && statistics.Other.Invalid > 0
        );
        Assert.True(device.Queue.Faults.Suppressed > 0);
    }

    private static long Answered(Device device) => device.Vbd.Queues.Sum(queue => queue.Statistics.Answered);

    private static int Collections() => GC.CollectionCount(0);

    /// <summary>So many requests, shared by the rings, all of which are kept full.</summary>
    private static void Run(Guest[] guests, int count)
    {
        int share = (count + guests.Length - 1) / guests.Length;
        foreach (Guest guest in guests)
            guest.Begin(share);
        while (true)
        {
            bool any = false;
            Guest? waiting = null;
            foreach (Guest guest in guests)
            {
                any |= guest.Move();
                if (!guest.IsDone)
                    waiting = guest;
            }
            if (waiting is null)
                return;
            if (!any)
                waiting.Sleep();
        }
    }

    private readonly struct AllocatesNowAndThen : ITwist
    {
        public static unsafe int Start(in DiskOperation operation, MemoryDiskIo disk, byte* content, Twisted state)
        {
            if (++state.Operations % 1000 == 0)
                state.Garbage = new object();
            return disk.Start(in operation);
        }
    }

    private readonly struct FailsNowAndThen : ITwist
    {
        public static unsafe int Start(in DiskOperation operation, MemoryDiskIo disk, byte* content, Twisted state) =>
            (++state.Operations % 1000) switch
            {
                0 => -Errno.EIO,
                500 => -Errno.EAGAIN,
                _ => disk.Start(in operation),
            };
    }

    /// <summary>
    /// A frontend that keeps the ring full with reads, writes and flushes, long ones too if it can, and allocates
    /// nothing itself.
    /// </summary>
    private sealed unsafe class Guest(Frontend frontend, Load load)
    {
        private readonly Blkif.DecodedRequest[] _requests =
        [
            .. Enumerable.Range(0, frontend.EntryCount).Select(i => Prepare(frontend, i, load)),
        ];
        private int _next,
            _posted,
            _taken,
            _count;

        public bool IsDone => _taken == _count;

        public void Begin(int count) => (_posted, _taken, _count) = (0, 0, count);

        /// <summary>Posts what there is room for and takes what there is; whether there was anything.</summary>
        public bool Move()
        {
            bool any = false;
            for (uint free = frontend.FreeRequests; free > 0 && _posted < _count; free--, _posted++)
            {
                frontend.Put(in _requests[_next]);
                if (++_next == _requests.Length)
                    _next = 0;
                any = true;
            }
            if (any)
                frontend.Push();
            Blkif.DecodedResponse response = default;
            while (frontend.TryTake(ref response))
            {
                _taken++;
                any = true;
                if (response.Status != Blkif.RspOkay && !load.Everything)
                    throw new InvalidOperationException("a request failed");
            }
            return any;
        }

        public void Sleep()
        {
            if (!frontend.FinalCheckForResponses() && !frontend.WaitForEvent(Wait.LimitMs))
                throw new InvalidOperationException("no answer came");
        }

        private static Blkif.DecodedRequest Prepare(Frontend frontend, int i, Load load)
        {
            if (load.Everything && i % 16 is var place && place >= 8)
                return PrepareRare(frontend, i, place);
            int operation =
                i % 64 == 63 ? Blkif.OpFlushDiskcache
                : i % 2 == 0 ? Blkif.OpRead
                : Blkif.OpWrite;
            ulong sector = (ulong)((i * 8) + load.SectorOffset);
            if (i % 8 == 5 && frontend.SegmentsPerRequest > Blkif.MaxSegmentsPerRequest)
            {
                Blkif.DecodedRequest request = Kit.Requests.Of(frontend, i, operation, sector);
                for (int s = 0; s < frontend.SegmentsPerRequest; s++)
                {
                    frontend.SegmentListOf(i)[s] = new Blkif.RequestSegment
                    {
                        Gref = frontend.GrantOf(i, s, readOnly: operation != Blkif.OpRead).Value,
                        LastSect = Kit.Requests.PageSectors - 1,
                    };
                }
                frontend.MakeIndirect(ref request, i, operation, frontend.SegmentsPerRequest);
                return request;
            }
            return Kit.Requests.Of(
                frontend,
                i,
                operation,
                sector,
                operation == Blkif.OpFlushDiskcache ? [] : Kit.Requests.Pages(1)
            );
        }

        private static Blkif.DecodedRequest PrepareRare(Frontend frontend, int i, int place)
        {
            ulong sector = (ulong)(i * 8);
            Blkif.DecodedRequest request;
            switch (place)
            {
                case 8 or 9:
                    return Kit.Requests.Of(frontend, i, Blkif.OpFlushDiskcache, sector);
                case 10:
                    return Kit.Requests.Of(frontend, i, Blkif.OpFlushDiskcache, sector, Kit.Requests.Pages(2));
                case 11:
                    return Kit.Requests.Of(frontend, i, Blkif.OpWriteBarrier, sector, Kit.Requests.Pages(2));
                case 12:
                    return Kit.Requests.Discard(i, sector, 100);
                case 13:
                    return Kit.Requests.Of(frontend, i, Blkif.OpRead, ulong.MaxValue, Kit.Requests.Pages(1));
                case 14:
                    return Kit.Requests.Of(frontend, i, Blkif.OpReserved1, sector);
                default:
                    request = Kit.Requests.Of(
                        frontend,
                        i,
                        i % 32 == 15 ? Blkif.OpRead : Blkif.OpWrite,
                        sector,
                        Kit.Requests.Pages(3)
                    );
                    request.Seg[1].Gref = 0;
                    return request;
            }
        }
    }
}
