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
}
