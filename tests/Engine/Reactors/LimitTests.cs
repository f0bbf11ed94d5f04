using System.Diagnostics;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Tests.Kit;
using Blkring.Engine.Vbds;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Reactors;

/// <summary>
/// What keeps a queue from taking all posted requests: the limits of its device, and the other queues on its thread.
/// </summary>
public sealed class LimitTests
{
    [Theory, EveryAbi]
    [Proves("B20")]
    public void Requests_beyond_the_burst_wait_on_the_ring_and_nothing_is_dropped(BlkifProtocol protocol)
    {
        Throttle throttle = new()
        {
            Limits = new ThrottleLimits { Iops = 1, IopsBurst = 5 },
        };
        using Rig rig = new(protocol, new RigOptions { Throttle = throttle });
        rig.Disk.Synchronous();
        for (int i = 0; i < 32; i++)
            rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        rig.Frontend.Push();
        Assert.Equal(PassResult.Retry, rig.Queue.RunPass());
        Assert.Equal(5, rig.Responses().Count);
        // The thread sleeps until the next pass: it neither spins nor asks for events.
        Assert.False(rig.Queue.HasRequests);
        Assert.False(rig.Queue.FinalCheckForRequests());
        Assert.Equal(PassResult.Retry, rig.Queue.RunPass());

        throttle.Limits = new ThrottleLimits();
        Assert.Equal(PassResult.Idle, rig.Queue.RunPass());
        Assert.Equal(27, rig.Responses().Count);
    }

    [Theory, EveryAbi(Blkif.OpFlushDiskcache, Blkif.OpWriteBarrier, Blkif.OpDiscard)]
    [Proves("F17")]
    public void What_moves_no_data_costs_a_share_of_a_limit_of_bytes(BlkifProtocol protocol, int operation)
    {
        Throttle throttle = new()
        {
            Limits = new ThrottleLimits { BytesPerSecond = 1, BytesBurst = (5 * Throttle.LeastCostBytes) - 1000 },
        };
        using Rig rig = new(protocol, new RigOptions { Throttle = throttle });
        rig.Disk.Synchronous();
        for (int i = 0; i < 32; i++)
            rig.Put(operation == Blkif.OpDiscard ? rig.Discard(8, 8) : rig.Request(operation, 0));
        rig.PushAndRun();
        Assert.Equal(5, rig.Responses().Count);
        throttle.Limits = new ThrottleLimits();
        rig.Run();
        Assert.Equal(27, rig.Responses().Count);
    }

    [Theory, EveryAbi]
    [Proves("F17")]
    public void A_long_discard_costs_a_thousandth_of_its_bytes(BlkifProtocol protocol)
    {
        const long TiB = 1L << 40;
        Throttle throttle = new()
        {
            Limits = new ThrottleLimits { BytesPerSecond = 1, BytesBurst = (3 * (TiB / 1024)) - 1000 },
        };
        using Rig rig = new(protocol, new RigOptions { Throttle = throttle, Sectors = 2 * TiB / Disk.SectorBytes });
        rig.Disk.OnStart = _ => 0;
        for (int i = 0; i < 10; i++)
            rig.Put(rig.Discard(0, TiB / Disk.SectorBytes));
        rig.PushAndRun();
        Assert.Equal(3, rig.Responses().Count);
    }

    [Theory, EveryAbi]
    public void A_device_whose_guest_posts_without_end_moves_what_it_may(BlkifProtocol protocol)
    {
        const int Iops = 500,
            Burst = 50;
        Throttle throttle = new()
        {
            Limits = new ThrottleLimits { Iops = Iops, IopsBurst = Burst },
        };
        using Reactor reactor = new();
        using Device device = new(
            reactor,
            protocol,
            new MemoryDisk(4096),
            options: new VbdOptions { Throttle = throttle }
        );
        long start = Stopwatch.GetTimestamp();
        WorkloadResult result = device.Work(TimeSpan.FromMilliseconds(500), depth: 32);
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        Assert.True(result.IsRight, result.FirstProblem);
        // However slow the machine is, it cannot have done more than was allowed in the time that it took.
        Assert.InRange(device.Queue.Statistics.Answered, Burst, Burst + (long)(Iops * seconds) + 2);
    }

    [Theory, EveryAbi]
    [Proves("F17")]
    public void The_rings_of_a_device_share_its_limit(BlkifProtocol protocol)
    {
        Throttle throttle = new()
        {
            Limits = new ThrottleLimits { BytesPerSecond = 1, BytesBurst = 10 * 4096 },
        };
        using Rig first = new(protocol, new RigOptions { Throttle = throttle }),
            second = new(protocol, new RigOptions { Throttle = throttle });
        foreach (Rig rig in (Rig[])[first, second])
        {
            rig.Disk.Synchronous();
            for (int i = 0; i < 8; i++)
                rig.Put(rig.Request(Blkif.OpWrite, 0, Requests.Pages(1)));
            rig.Frontend.Push();
            rig.Queue.RunPass();
        }
        Assert.Equal(8, first.Responses().Count);
        Assert.InRange(second.Responses().Count, 2, 3);
    }

    [Theory, EveryAbi]
    [Proves("B20", "F17")]
    public void Long_requests_are_limited_before_their_lists_are_read(BlkifProtocol protocol)
    {
        Throttle throttle = new()
        {
            Limits = new ThrottleLimits { BytesPerSecond = 1, BytesBurst = 2 * 64 * 1024 },
        };
        using Rig rig = new(protocol, new RigOptions { Throttle = throttle, MaxIndirectSegments = 16 });
        rig.Disk.Synchronous();
        for (int i = 0; i < 8; i++)
            rig.Put(rig.Indirect(Blkif.OpRead, 0, Requests.Pages(16)));
        Assert.Equal(PassResult.Retry, rig.PushAndRun());
        Assert.Equal(2, rig.Responses().Count);
    }

    [Theory, EveryAbi]
    [Proves("B20")]
    public void Long_requests_that_move_little_or_nothing_cost_what_they_move(BlkifProtocol protocol)
    {
        Throttle throttle = new()
        {
            Limits = new ThrottleLimits { BytesPerSecond = 1, BytesBurst = 64 * 1024 },
        };
        using Rig rig = new(protocol, new RigOptions { Throttle = throttle, MaxIndirectSegments = 16 });
        rig.Disk.Synchronous();
        for (int i = 0; i < 4; i++)
        {
            rig.Put(rig.Indirect(Blkif.OpRead, ulong.MaxValue, Requests.Pages(16)));
            Blkif.DecodedRequest badList = rig.Indirect(Blkif.OpWrite, 0, Requests.Pages(16));
            badList.IndirectGrefs[0] = 0;
            rig.Put(in badList);
            rig.Put(rig.Indirect(Blkif.OpRead, 0, [.. Enumerable.Repeat((0, 0), 16)]));
        }
        Assert.Equal(PassResult.Idle, rig.PushAndRun());
        Assert.Equal((12, 4), (rig.Statistics.Answered, rig.Statistics.Read.Operations));
    }

    [Fact]
    [Proves("F21")]
    public void A_limit_costs_no_garbage()
    {
        Throttle throttle = new()
        {
            Limits = new ThrottleLimits { Iops = 1_000_000, BytesPerSecond = 1L << 40 },
        };
        using Rig rig = new(BlkifProtocol.X86_64, new RigOptions { Throttle = throttle });
        rig.Disk.Synchronous();
        Round();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
        {
            _ = throttle.MayStart(Stopwatch.GetTimestamp());
            throttle.ChargeRequest(Stopwatch.GetTimestamp());
            throttle.ChargeBytes(Stopwatch.GetTimestamp(), 4096);
            rig.Queue.RunPass();
        }
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());

        void Round()
        {
            rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
            rig.PushAndRun();
            Assert.Single(rig.Responses());
        }
    }

    [Theory, EveryAbi]
    [Proves("B20", "F18")]
    public void A_pass_over_a_flooded_ring_is_cut_short(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, new RigOptions { RingPages = 16 });
        rig.Disk.Synchronous();
        int entries = rig.Frontend.EntryCount,
            largest = 0,
            turns = 0,
            answered = 0;
        for (int i = 0; i < entries; i++)
            rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(11)));
        rig.Frontend.Push();
        for (bool more = true; more; turns++)
        {
            more = rig.Queue.RunPass() == PassResult.More;
            int count = rig.Responses().Count;
            largest = Math.Max(largest, count);
            answered += count;
        }
        Assert.Equal(entries, answered);
        // The segments of a share, and the request that exceeds it.
        Assert.Equal((VbdQueue.MaxSegmentsPerPass / 11) + 1, largest);
        Assert.Equal((entries + largest - 1) / largest, turns);
    }

    [Theory, EveryAbi]
    [Proves("F18")]
    public void Reads_that_complete_together_are_copied_a_share_a_pass(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, new RigOptions { RingPages = 16 });
        int entries = rig.Frontend.EntryCount;
        List<ulong> expected = [];
        for (int i = 0; i < entries; i++)
        {
            Blkif.DecodedRequest request = rig.Request(Blkif.OpRead, 0, Requests.Pages(11));
            rig.Put(request);
            expected.Add(request.Id);
        }
        rig.Frontend.Push();
        while (rig.Queue.RunPass() == PassResult.More) { }
        Assert.Empty(rig.Responses());
        rig.Disk.CompleteAll();

        List<ulong> answered = [];
        int largest = 0;
        PassResult result;
        do
        {
            long before = rig.Queue.Statistics.GrantCopySegments;
            result = rig.Queue.RunPass();
            largest = Math.Max(largest, (int)(rig.Queue.Statistics.GrantCopySegments - before));
            answered.AddRange(rig.Responses().Select(response => response.Id));
        } while (result == PassResult.More);
        Assert.Equal(PassResult.Idle, result);
        // In the order in which the disk finished them, none left out.
        Assert.Equal(expected, answered);
        Assert.Equal(((VbdQueue.MaxSegmentsPerPass / 11) + 1) * 11, largest);
        Assert.Equal(0, rig.Queue.InFlight);
    }

    [Fact]
    public void A_drained_queue_still_answers_what_was_left_for_a_later_pass()
    {
        using Rig rig = new(BlkifProtocol.X86_64, new RigOptions { RingPages = 4 });
        int entries = rig.Frontend.EntryCount;
        for (int i = 0; i < entries; i++)
            rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(11)));
        rig.Frontend.Push();
        while (rig.Queue.RunPass() == PassResult.More) { }
        rig.Queue.DetachRing();
        rig.Disk.CompleteAll();
        while (rig.Queue.RunPass() == PassResult.More) { }
        Assert.Equal(entries, rig.Responses().Count);
        Assert.Equal(0, rig.Queue.InFlight);
    }
}
