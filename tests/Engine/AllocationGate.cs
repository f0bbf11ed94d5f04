using Blkring.Abi;
using Blkring.Engine.Loopback;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests;

/// <summary>
/// B1, the line marked Better: the data path allocates nothing. Ten million requests, not a byte of garbage on the threads that serve
/// them, not a collection; and a disk that allocates shows that the gate can be missed.
/// </summary>
public sealed class AllocationGate
{
    // Debug builds keep no value in a register and inline nothing, but allocate the same: there a tenth shows it, in the same time.
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
    public void The_null_disk_serves_millions_of_requests_without_garbage(BlkifProtocol protocol)
    {
        using NullDisk disk = new(1 << 20);
        Assert.Equal(default, Measure(protocol, disk, Requests * 2 / 9, WarmUpRequests));
    }

    [Theory, EveryAbi]
    public void The_memory_disk_serves_millions_of_requests_without_garbage(BlkifProtocol protocol)
    {
        // Two ninths and one ninth for each of three ABIs: ten million and a few more together.
        using MemoryDisk disk = new(1 << 14);
        Assert.Equal(default, Measure(protocol, disk, (Requests / 9) + 10, WarmUpRequests));
    }

    [Theory, EveryAbi]
    public void A_file_serves_requests_through_io_uring_without_garbage(BlkifProtocol protocol)
    {
        using TempImage image = new(1 << 14);
        using FileDisk disk = image.Open(cache: CacheMode.Writeback);
        Assert.Equal(default, Measure(protocol, disk, FileRequests / 3, WarmUpRequests / 10));
    }

    /// <summary>Long requests among the others, in each mode, and with fewer persistent grants than pages: insertion and eviction all the time.</summary>
    [Theory, EveryAbi(GrantMode.Copy, GrantMode.Map, GrantMode.Persistent)]
    public void Long_requests_and_mapped_pages_leave_no_garbage(BlkifProtocol protocol, GrantMode mode)
    {
        using MemoryDisk disk = new(1 << 14);
        VbdOptions options = new() { GrantMode = mode, MaxIndirectSegments = LongSegments, MaxPersistentGrants = 100, IndirectMemoryBytes = 1 << 20 };
        Assert.Equal(default, Measure(protocol, disk, FileRequests / 3, WarmUpRequests / 10, options));
    }

    [Theory, EveryAbi]
    public void Parts_of_blocks_leave_no_garbage(BlkifProtocol protocol)
    {
        using MemoryDisk disk = new(1 << 14, sectorBytes: Arena.PageBytes);
        Assert.Equal(default, Measure(protocol, disk, FileRequests / 3, WarmUpRequests / 10, new VbdOptions(), sectorOffset: 3));
    }

    [Theory, EveryAbi]
    public void A_disk_that_allocates_is_found_out(BlkifProtocol protocol)
    {
        using WrappedDisk<AllocatesNowAndThen> disk = new(1 << 14);
        Garbage garbage = Measure(protocol, disk, 20_000, 1000);
        Assert.InRange(garbage.ReactorBytes, 20 * 24, long.MaxValue);
        Assert.Equal(0, garbage.GuestBytes);
    }

    /// <summary>What a run left behind. All zeros is what is wanted.</summary>
    private readonly record struct Garbage(long ReactorBytes, long GuestBytes, int Collections);

    private static Garbage Measure(BlkifProtocol protocol, Disk disk, int requests, int warmUp, VbdOptions? options = null, int sectorOffset = 0)
    {
        using Reactor reactor = new();
        using Device device = new(
            reactor, protocol, disk, ringPages: options is null ? 16 : 2, options, ownsDisk: false,
            segments: options is null ? Blkif.MaxSegmentsPerRequest : LongSegments);
        Guest guest = new(device.Frontend, sectorOffset);
        for (int part = 0; part < 4; part++)
        {
            guest.Run(warmUp / 4);
            // Lets the background compiler have a processor of a small machine.
            Thread.Sleep(50);
        }
        long answered = device.Queue.Statistics.Answered;

        // Nothing but this and the reactor's thread runs: a collection would be of their garbage.
        GC.Collect();
        GC.WaitForPendingFinalizers();
        int collections = Collections();
        long reactorBytes = reactor.AllocatedBytes, guestBytes = GC.GetAllocatedBytesForCurrentThread();
        guest.Run(requests);
        // The figure is as of the thread's last wait: one more request lies behind a wait that came after all the others.
        guest.Run(1);
        guest.Run(1);
        Garbage garbage = new(
            reactor.AllocatedBytes - reactorBytes, GC.GetAllocatedBytesForCurrentThread() - guestBytes, Collections() - collections);
        Assert.Equal(requests + 2, device.Queue.Statistics.Answered - answered);
        Assert.Equal(0, device.Queue.Statistics.Read.Failed + device.Queue.Statistics.Read.Invalid + device.Queue.Statistics.Write.Failed + device.Queue.Statistics.Write.Invalid);
        return garbage;
    }

    private static int Collections() => GC.CollectionCount(0);

    private readonly struct AllocatesNowAndThen : ITwist
    {
        public static unsafe int Start(in DiskOperation operation, MemoryDiskIo disk, byte* content, Twisted state)
        {
            if (++state.Operations % 1000 == 0) state.Garbage = new object();
            return disk.Start(in operation);
        }
    }

    /// <summary>A frontend that keeps the ring full with reads, writes and flushes, long ones too if it can, and allocates nothing itself.</summary>
    private sealed unsafe class Guest(Frontend frontend, int sectorOffset)
    {
        private readonly Blkif.DecodedRequest[] _requests = [.. Enumerable.Range(0, frontend.EntryCount).Select(i => Prepare(frontend, i, sectorOffset))];
        private int _next;

        public void Run(int count)
        {
            int posted = 0, taken = 0;
            Blkif.DecodedResponse response = default;
            while (taken < count)
            {
                bool any = false;
                for (uint free = frontend.FreeRequests; free > 0 && posted < count; free--, posted++)
                {
                    frontend.Put(in _requests[_next]);
                    if (++_next == _requests.Length) _next = 0;
                    any = true;
                }
                if (any) frontend.Push();
                while (frontend.TryTake(ref response))
                {
                    taken++;
                    any = true;
                    if (response.Status != Blkif.RspOkay) throw new InvalidOperationException("a request failed");
                }
                if (any) continue;
                if (!frontend.FinalCheckForResponses() && !frontend.WaitForEvent(Wait.LimitMs)) throw new InvalidOperationException("no answer came");
            }
        }

        private static Blkif.DecodedRequest Prepare(Frontend frontend, int i, int sectorOffset)
        {
            int operation = i % 64 == 63 ? Blkif.OpFlushDiskcache : i % 2 == 0 ? Blkif.OpRead : Blkif.OpWrite;
            if (i % 8 == 5 && frontend.SegmentsPerRequest > Blkif.MaxSegmentsPerRequest)
            {
                Blkif.DecodedRequest request = Kit.Requests.Of(frontend, i, operation, (ulong)((i * 8) + sectorOffset));
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
            return Kit.Requests.Of(frontend, i, operation, (ulong)((i * 8) + sectorOffset), operation == Blkif.OpFlushDiskcache ? [] : Kit.Requests.Pages(1));
        }
    }
}
