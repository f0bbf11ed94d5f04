using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Tests.Kit;
using Blkring.Interop;

namespace Blkring.Engine.Tests.Queues;

/// <summary>B11: what FLUSH_DISKCACHE does, and in which order.</summary>
public sealed class FlushTests
{
    // Linux leaves -1 in sector_number of a flush without data: blk_rq_init of its block layer sets it, and blkfront
    // copies it.
    [Theory, EveryAbi(0UL, 4096UL, 1UL << 55, ulong.MaxValue)]
    [Proves("B11")]
    public void A_flush_without_segments_flushes_whatever_sector_it_names(BlkifProtocol protocol, ulong sector)
    {
        using Rig rig = new(protocol);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(Blkif.OpFlushDiskcache, sector)));
        Assert.Equal(DiskOperationKind.Flush, Assert.Single(rig.Disk.Started).Kind);
        Assert.Equal((1, 0), (rig.Statistics.Flush.Operations, rig.Statistics.Flush.Bytes));
        Assert.Equal(0, rig.Witness.CopyCalls);
    }

    [Theory, EveryAbi]
    [Proves("B11", "F8")]
    public void A_flush_with_segments_flushes_first_and_then_writes(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        Blkif.DecodedRequest request = rig.Request(Blkif.OpFlushDiskcache, 40, (1, 7), (0, 3));
        rig.FillGuest(in request);
        rig.Put(in request);
        rig.PushAndRun();

        ScriptedOperation flush = Assert.Single(rig.Disk.UnderWay);
        Assert.Equal(DiskOperationKind.Flush, flush.Kind);
        rig.Disk.Complete(flush);
        rig.Run();
        Assert.Empty(rig.Responses());

        ScriptedOperation write = Assert.Single(rig.Disk.UnderWay);
        Assert.Equal(DiskOperationKind.Write, write.Kind);
        rig.Disk.Complete(write);
        rig.Run();
        Assert.Equal(Blkif.RspOkay, Assert.Single(rig.Responses()).Status);
        Assert.Equal(rig.GuestBytes(in request), rig.Disk.Sectors(40, 11));
        Assert.Equal(11 * 512, rig.Statistics.Flush.Bytes);
    }

    [Theory, EveryAbi]
    [Proves("B11")]
    public void A_flush_that_fails_writes_nothing(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Disk.OnStart = _ => -Errno.EIO;
        Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(Blkif.OpFlushDiskcache, 0, Requests.Pages(1))));
        Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(Blkif.OpFlushDiskcache, 0)));
        Assert.All(rig.Disk.Started, operation => Assert.Equal(DiskOperationKind.Flush, operation.Kind));
        Assert.Equal(2, rig.Statistics.Flush.Failed);
    }

    [Theory, EveryAbi]
    [Proves("B11")]
    public void A_flush_holds_nothing_else_up(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Put(rig.Request(Blkif.OpFlushDiskcache, 0));
        Blkif.DecodedRequest read = rig.Request(Blkif.OpRead, 0, Requests.Pages(1));
        rig.Put(in read);
        rig.PushAndRun();
        rig.Disk.Complete(rig.Disk.UnderWay.Single(operation => operation.Kind == DiskOperationKind.Read));
        rig.Run();
        Assert.Equal(read.Id, Assert.Single(rig.Responses()).Id);
        rig.FinishDisk();
        Assert.Single(rig.Responses());
    }

    [Theory, EveryAbi]
    [Proves("B11", "F8")]
    public void Flushes_that_are_posted_together_are_one(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        for (int i = 0; i < 6; i++)
            rig.Put(rig.Request(Blkif.OpFlushDiskcache, (ulong)i * 8, Requests.Pages(i % 2)));
        rig.PushAndRun();
        rig.Disk.Complete(Assert.Single(rig.Disk.UnderWay));
        rig.Run();
        Assert.Equal(3, rig.Responses().Count);
        Assert.Equal(
            [DiskOperationKind.Flush, DiskOperationKind.Write, DiskOperationKind.Write, DiskOperationKind.Write],
            rig.Disk.Started.Select(operation => operation.Kind)
        );
        rig.FinishDisk();
        Assert.Equal((3, 5), (rig.Responses().Count, rig.Statistics.MergedFlushes));
    }

    [Theory, EveryAbi]
    [Proves("B11", "F8")]
    public void A_flush_does_not_ride_on_one_that_started_before_it(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Put(rig.Request(Blkif.OpFlushDiskcache, 0));
        rig.PushAndRun();
        ScriptedOperation early = Assert.Single(rig.Disk.UnderWay);
        // A write that ends while the flush is under way is not covered by it.
        rig.Put(rig.Request(Blkif.OpWrite, 0, Requests.Pages(1)));
        rig.PushAndRun();
        rig.Disk.Complete(rig.Disk.UnderWay[1]);
        rig.Run();
        Assert.Single(rig.Responses());
        for (int i = 0; i < 3; i++)
            rig.Put(rig.Request(Blkif.OpFlushDiskcache, 0));
        rig.PushAndRun();
        Assert.Single(rig.Disk.UnderWay);

        rig.Disk.Complete(early);
        rig.Run();
        Assert.Single(rig.Responses());
        ScriptedOperation late = Assert.Single(rig.Disk.UnderWay);
        Assert.Equal((DiskOperationKind.Flush, 2), (late.Kind, late.Number));
        rig.Disk.Complete(late);
        rig.Run();
        Assert.Equal((3, 3), (rig.Responses().Count, rig.Disk.Started.Length));
    }

    [Theory, EveryAbi]
    [Proves("B11")]
    public void A_flush_that_fails_is_an_error_for_all_who_share_it_and_is_tried_again_once_for_all(
        BlkifProtocol protocol
    )
    {
        using Rig rig = new(protocol);
        int calls = 0;
        rig.Disk.OnStart = _ => ++calls == 1 ? -Errno.EAGAIN : -Errno.EIO;
        for (int i = 0; i < 4; i++)
            rig.Put(rig.Request(Blkif.OpFlushDiskcache, 0, Requests.Pages(i % 2)));
        Assert.Equal(PassResult.Retry, rig.PushAndRun());
        rig.Run();
        Assert.Equal((2, 4), (calls, rig.Responses().Count(response => response.Status == Blkif.RspError)));
        Assert.Equal((4, 1), (rig.Statistics.Flush.Failed, rig.Statistics.Retries));
    }

    [Theory, EveryAbi]
    [Proves("B11")]
    public void A_completion_of_an_earlier_operation_does_not_pass_for_a_flush(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Put(rig.Request(Blkif.OpWriteBarrier, 0, Requests.Pages(1)));
        rig.PushAndRun();
        rig.Disk.Complete(Assert.Single(rig.Disk.UnderWay));
        rig.Run();
        ScriptedOperation write = Assert.Single(rig.Disk.UnderWay);
        rig.Disk.Complete(write);
        rig.Disk.CompleteAgain(write, write.LengthBytes);
        rig.Run();
        Assert.Empty(rig.Responses());
        Assert.Equal(1, rig.Statistics.StaleCompletions);
        rig.FinishDisk();
        Assert.Single(rig.Responses());
    }

    /// <summary>One retry of a flush can put several requests into the line that is being retried.</summary>
    [Theory, EveryAbi]
    [Proves("B11", "B13")]
    public void Requests_that_wait_behind_a_flush_are_each_retried_once(BlkifProtocol protocol)
    {
        HandClock clock = new();
        using Rig rig = new(protocol, new RigOptions { Clock = clock, RetryDelay = TimeSpan.FromSeconds(1) });
        rig.Disk.OnStart = _ => -Errno.EAGAIN;
        for (int i = 0; i < 3; i++)
            rig.Put(rig.Request(Blkif.OpFlushDiskcache, (ulong)i * 8, Requests.Pages(1)));
        rig.PushAndRun();
        for (int i = 0; i < 2; i++)
            rig.Put(rig.Request(Blkif.OpRead, 64 + ((ulong)i * 8), Requests.Pages(1)));
        rig.PushAndRun();

        // The flush is done at once; the writes that it lets go have to be retried as well.
        rig.Disk.OnStart = operation =>
            operation.Kind == DiskOperationKind.Write ? -Errno.EAGAIN : rig.Disk.Perform(operation);
        clock.Advance(TimeSpan.FromSeconds(1));
        rig.Run();
        Assert.Equal(2, rig.Responses().Count);
        rig.Disk.OnStart = rig.Disk.Perform;
        clock.Advance(TimeSpan.FromSeconds(1));
        rig.Run();
        Assert.Equal(3, rig.Responses().Count);
        Assert.All(
            rig.Disk.Started.Where(operation => operation.IsTransfer).GroupBy(operation => operation.OffsetBytes),
            place => Assert.Equal(2, place.Count())
        );
    }

    /// <summary>The kernel tells of a failed writeback once per open file, and the queues share that.</summary>
    [Theory, EveryAbi]
    [Proves("B11")]
    public void After_a_failed_flush_no_flush_of_any_queue_succeeds(BlkifProtocol protocol)
    {
        ScriptedDisk disk = new(4096);
        using Rig first = new(protocol, new RigOptions { Disk = disk });
        using Rig second = new(protocol, new RigOptions { Disk = disk });
        first.Put(first.Request(Blkif.OpFlushDiskcache, 0));
        first.PushAndRun();
        ScriptedOperation failing = Assert.Single(disk.UnderWay);
        second.Put(second.Request(Blkif.OpFlushDiskcache, 0));
        second.PushAndRun();
        ScriptedOperation meanwhile = disk.UnderWay.Single(operation => operation != failing);

        disk.Complete(failing, -Errno.EIO);
        first.Run();
        Assert.Equal(Blkif.RspError, Assert.Single(first.Responses()).Status);
        disk.Complete(meanwhile);
        second.Run();
        Assert.Equal(Blkif.RspError, Assert.Single(second.Responses()).Status);

        disk.Synchronous();
        Assert.Equal(Blkif.RspError, first.StatusOf(first.Request(Blkif.OpFlushDiskcache, 0)));
        Assert.Equal(Blkif.RspError, second.StatusOf(second.Request(Blkif.OpWriteBarrier, 0, Requests.Pages(1))));
        Assert.Equal(Blkif.RspOkay, second.StatusOf(second.Request(Blkif.OpWrite, 0, Requests.Pages(1))));
        Assert.Equal(Blkif.RspOkay, second.StatusOf(second.Request(Blkif.OpRead, 0, Requests.Pages(1))));

        disk.Lost.Clear();
        Assert.Equal(Blkif.RspOkay, first.StatusOf(first.Request(Blkif.OpFlushDiskcache, 0)));
        Assert.Equal(Blkif.RspOkay, second.StatusOf(second.Request(Blkif.OpFlushDiskcache, 0)));
    }

    /// <summary>The kernel has told the first flush, and its queue has not seen that yet.</summary>
    [Theory, EveryAbi]
    [Proves("B11")]
    public void A_flush_is_not_answered_while_one_that_overlaps_it_may_have_taken_its_error(BlkifProtocol protocol)
    {
        foreach (int errno in (ReadOnlySpan<int>)[Errno.EIO, 0])
        {
            ScriptedDisk disk = new(4096) { Caches = true };
            using Rig first = new(protocol, new RigOptions { Disk = disk });
            using Rig second = new(protocol, new RigOptions { Disk = disk });
            first.Put(first.Request(Blkif.OpFlushDiskcache, 0));
            first.PushAndRun();
            ScriptedOperation earlier = Assert.Single(disk.UnderWay);
            second.Put(second.Request(Blkif.OpFlushDiskcache, 0));
            second.PushAndRun();
            disk.Complete(disk.UnderWay.Single(operation => operation != earlier));
            Assert.Equal(PassResult.Retry, second.Run());
            Assert.Empty(second.Responses());

            disk.Complete(earlier, -errno);
            first.Run();
            // One that begins now is not waited for.
            first.Put(first.Request(Blkif.OpFlushDiskcache, 0));
            first.PushAndRun();
            Assert.Single(disk.UnderWay);
            second.Run();
            int status = errno == 0 ? Blkif.RspOkay : Blkif.RspError;
            Assert.Equal(status, Assert.Single(second.Responses()).Status);
            first.FinishDisk();
            Assert.Equal([status, status], first.Responses().Select(response => (int)response.Status));
        }
    }

    /// <summary>Without a cache of the host's, an error concerns the flush that it answers.</summary>
    [Fact]
    public void With_direct_io_a_flush_waits_for_none_of_another_queue()
    {
        ScriptedDisk disk = new(4096);
        using Rig first = new(BlkifProtocol.X86_64, new RigOptions { Disk = disk });
        using Rig second = new(BlkifProtocol.X86_64, new RigOptions { Disk = disk });
        first.Put(first.Request(Blkif.OpFlushDiskcache, 0));
        first.PushAndRun();
        second.Put(second.Request(Blkif.OpFlushDiskcache, 0));
        second.PushAndRun();
        disk.Complete(disk.UnderWay[1]);
        second.Run();
        Assert.Equal(Blkif.RspOkay, Assert.Single(second.Responses()).Status);
        first.FinishDisk();
    }

    [Fact]
    public void A_queue_that_is_gone_with_its_flush_is_not_waited_for()
    {
        ScriptedDisk disk = new(4096) { Caches = true };
        using TempImage folder = new(8);
        using Rig first = new(
            BlkifProtocol.X86_64,
            new RigOptions { Disk = disk, JournalPath = folder.PathOf("journal") }
        );
        using Rig second = new(BlkifProtocol.X86_64, new RigOptions { Disk = disk });
        first.Put(first.Request(Blkif.OpFlushDiskcache, 0));
        first.PushAndRun();
        second.Put(second.Request(Blkif.OpFlushDiskcache, 0));
        second.PushAndRun();
        disk.Complete(disk.UnderWay[1]);
        second.Run();
        Assert.Empty(second.Responses());
        first.NextDaemon(new ScriptedDisk(4096));
        second.Run();
        Assert.Equal(Blkif.RspOkay, Assert.Single(second.Responses()).Status);
    }

    [Theory, EveryAbi]
    [Proves("B11")]
    public void After_a_failed_write_through_the_page_cache_no_flush_succeeds(BlkifProtocol protocol)
    {
        foreach (
            (bool caches, bool syncs, int errno, bool lost) in (ReadOnlySpan<(bool, bool, int, bool)>)
                [
                    (false, false, Errno.EIO, false),
                    (true, false, Errno.EIO, true),
                    (true, false, Errno.ENOSPC, false),
                    (true, true, Errno.ENOSPC, true),
                ]
        )
        {
            ScriptedDisk disk = new(4096) { Caches = caches, Syncs = syncs };
            using Rig rig = new(protocol, new RigOptions { Disk = disk });
            disk.OnStart = _ => -errno;
            Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(Blkif.OpRead, 0, Requests.Pages(1))));
            Assert.Equal(0, disk.Lost.Errno);
            Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(Blkif.OpWrite, 0, Requests.Pages(1))));
            disk.Synchronous();
            int flushed = lost ? Blkif.RspError : Blkif.RspOkay,
                written = lost && syncs ? Blkif.RspError : Blkif.RspOkay;
            Assert.Equal(flushed, rig.StatusOf(rig.Request(Blkif.OpFlushDiskcache, 0)));
            Assert.Equal(written, rig.StatusOf(rig.Request(Blkif.OpWrite, 0, Requests.Pages(1))));
        }
    }
}
