using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Memory;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Vbds;
using Blkring.Interop;

namespace Blkring.Tests.Kit;

/// <summary>Serves millions of requests and counts the garbage of the threads that serve them.</summary>
public static class AllocationRun
{
    // A Debug build is slow but allocates as a Release build does. A tenth of the requests takes the same time there
    // and shows the same.
#if DEBUG
    private const int ManyRequests = 1_000_000;
#else
    private const int ManyRequests = 10_000_000;
#endif
    private const int FileRequests = 120_000;
    private const int ControlRequests = 20_000;
    private const int LongSegments = 40;
    private const int Sectors = 1 << 14;

    // Enough calls for every method to reach its last tier; the code compiled in the background arrives a little later.
    private const int WarmUpRequests = 200_000;

    /// <exception cref="InvalidOperationException">The requests were not served as the case demands.</exception>
    public static AllocationCounts Measure(AllocationCase what)
    {
        const int some = FileRequests / 3,
            someWarmUp = WarmUpRequests / 10;
        switch (what.Subject)
        {
            case AllocationSubject.NullDisk:
            {
                using NullDisk disk = new(1 << 20);
                return Measure(what, disk, ManyRequests * 2 / 9, WarmUpRequests);
            }
            case AllocationSubject.MemoryDisk:
            {
                // Two ninths and one ninth for each of three ABIs: ten million and a few more together.
                using MemoryDisk disk = new(Sectors);
                return Measure(what, disk, (ManyRequests / 9) + 10, WarmUpRequests);
            }
            case AllocationSubject.File:
            {
                using TempImage image = new(Sectors);
                using FileDisk disk = image.Open(cache: CacheMode.Writeback);
                return Measure(what, disk, some, someWarmUp);
            }
            case AllocationSubject.LongRequests:
            {
                using MemoryDisk disk = new(Sectors);
                return Measure(what, disk, some, someWarmUp, FewGrants(what.Mode));
            }
            case AllocationSubject.PartsOfBlocks:
            {
                using MemoryDisk disk = new(Sectors, sectorBytes: Arena.PageBytes);
                return Measure(what, disk, some, someWarmUp, new VbdOptions(), new AllocationLoad { SectorOffset = 3 });
            }
            case AllocationSubject.EveryKind:
            {
                using WrappedDisk<FailsNowAndThen> disk = new(Sectors);
                Throttle throttle = new()
                {
                    Limits = new ThrottleLimits { Iops = 200_000, BytesPerSecond = 10L << 30 },
                };
                AllocationCounts counts = Measure(
                    what,
                    disk,
                    some,
                    someWarmUp,
                    FewGrants(what.Mode, throttle),
                    new AllocationLoad { Everything = true }
                );
                Require(disk.State.Operations > FileRequests / 6, "the disk was hardly asked");
                return counts;
            }
            case AllocationSubject.SeveralRings:
            {
                using TempImage image = new(Sectors);
                using FileDisk disk = image.Open(cache: CacheMode.Writeback);
                VbdOptions options = new() { GrantMode = what.Mode, MaxIndirectSegments = LongSegments };
                return Measure(what, disk, some, someWarmUp, options, new AllocationLoad { Rings = 2 });
            }
            case AllocationSubject.AllocatingDisk:
            {
                using WrappedDisk<AllocatesNowAndThen> disk = new(Sectors);
                return Measure(what, disk, ControlRequests, ControlRequests / 20);
            }
            default:
                throw new ArgumentOutOfRangeException(nameof(what));
        }
    }

    /// <summary>Fewer persistent grants than pages: insertion and eviction all the time.</summary>
    private static VbdOptions FewGrants(GrantMode mode, Throttle? throttle = null) =>
        new()
        {
            GrantMode = mode,
            MaxIndirectSegments = LongSegments,
            MaxPersistentGrants = 100,
            IndirectMemoryBytes = 1 << 20,
            Throttle = throttle,
        };

    private static AllocationCounts Measure(
        AllocationCase what,
        Disk disk,
        int requests,
        int warmUp,
        VbdOptions? options = null,
        AllocationLoad? load = null
    )
    {
        load ??= new AllocationLoad();
        using Reactor reactor = new(new ReactorOptions { UseIoUring = what.UseIoUring });
        Require(what.UseIoUring == reactor.UsesIoUring, "the reactor waits in another way: " + reactor.Describe());
        using Device device = new(
            reactor,
            what.Protocol,
            disk,
            ringPages: options is null ? 16 : 2,
            options,
            ownsDisk: false,
            segments: options is null ? Blkif.MaxSegmentsPerRequest : LongSegments,
            rings: load.Rings
        );
        AllocationGuest[] guests = [.. device.Frontends.Select(frontend => new AllocationGuest(frontend, load))];
        for (int part = 0; part < 4; part++)
        {
            Serve(guests, warmUp / 4);
            // On a small machine the background compiler needs a processor for itself.
            Thread.Sleep(50);
        }
        long answered = Answered(device);

        // Only this thread and the reactor's run, so a collection would be caused by their garbage.
        GC.Collect();
        GC.WaitForPendingFinalizers();
        int collections = GC.CollectionCount(0);
        long reactorBytes = reactor.AllocatedBytes,
            guestBytes = GC.GetAllocatedBytesForCurrentThread();
        Serve(guests, requests);
        // The reactor updates the figure when it waits. One more request makes sure that it has waited since it served
        // the others.
        Serve(guests, 1);
        Serve(guests, 1);
        AllocationCounts counts = new(
            reactor.AllocatedBytes - reactorBytes,
            GC.GetAllocatedBytesForCurrentThread() - guestBytes,
            GC.CollectionCount(0) - collections
        );
        long served = Answered(device) - answered;
        Require(
            served >= requests && served <= requests + 2 + (2 * guests.Length),
            $"{served} requests were served, not {requests}"
        );
        if (load.Everything)
            RequireEverything(device);
        else
            foreach (VbdQueue queue in device.Vbd.Queues)
                Require(
                    queue.Statistics.Read.Failed
                        + queue.Statistics.Read.Invalid
                        + queue.Statistics.Write.Failed
                        + queue.Statistics.Write.Invalid
                        == 0,
                    "requests failed"
                );
        return counts;
    }

    /// <summary>Everything that must leave no garbage has happened.</summary>
    private static void RequireEverything(Device device)
    {
        QueueStatistics statistics = device.Queue.Statistics;
        Require(statistics.Flush.Operations > 0 && statistics.MergedFlushes > 0, "no flush waited for another");
        Require(statistics.Discard.Operations > 0, "nothing was discarded");
        Require(statistics.Retries > 0, "nothing was tried again");
        Require(statistics.Read.Failed > 0 && statistics.Write.Failed > 0, "nothing failed");
        Require(statistics.Read.Invalid > 0 && statistics.Other.Invalid > 0, "nothing was refused");
        Require(device.Queue.Faults.Suppressed > 0, "no fault was suppressed");
    }

    private static long Answered(Device device)
    {
        long answered = 0;
        foreach (VbdQueue queue in device.Vbd.Queues)
            answered += queue.Statistics.Answered;
        return answered;
    }

    /// <summary>Serves a number of requests, shared by the rings, which are kept full.</summary>
    private static void Serve(AllocationGuest[] guests, int count)
    {
        int share = (count + guests.Length - 1) / guests.Length;
        foreach (AllocationGuest guest in guests)
            guest.Begin(share);
        while (true)
        {
            bool any = false;
            AllocationGuest? waiting = null;
            foreach (AllocationGuest guest in guests)
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

    private static void Require(bool condition, string problem)
    {
        if (!condition)
            throw new InvalidOperationException(problem);
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
}
