using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Tests.Kit;
using Blkring.Interop;

namespace Blkring.Engine.Tests.Queues;

/// <summary>
/// B5, the line marked Better: WRITE_BARRIER comes after everything before it and before everything after it.
/// </summary>
public sealed class BarrierTests
{
    [Theory, EveryAbi]
    [Proves("B5", "F9")]
    public void A_barrier_waits_for_what_came_before_and_holds_back_what_comes_after(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        Blkif.DecodedRequest[] before =
        [
            rig.Request(Blkif.OpWrite, 0, Requests.Pages(1)),
            rig.Request(Blkif.OpWrite, 8, Requests.Pages(1)),
        ];
        Blkif.DecodedRequest barrier = rig.Request(Blkif.OpWriteBarrier, 16, (2, 5), (0, 7));
        Blkif.DecodedRequest after = rig.Request(Blkif.OpWrite, 64, Requests.Pages(1));
        rig.FillGuest(in barrier);
        foreach (Blkif.DecodedRequest request in (Blkif.DecodedRequest[])[.. before, barrier, after])
            rig.Put(in request);
        rig.PushAndRun();
        Assert.Equal([0, 8 * 512], rig.Disk.UnderWay.Select(operation => operation.OffsetBytes));

        // The completion of the second alone is not enough.
        rig.Disk.Complete(rig.Disk.UnderWay[1]);
        rig.Run();
        Assert.Single(rig.Disk.UnderWay);
        rig.Disk.Complete(rig.Disk.UnderWay[0]);
        rig.Run();

        Assert.Equal(DiskOperationKind.Flush, Next(rig).Kind);
        ScriptedOperation write = Next(rig);
        Assert.Equal((DiskOperationKind.Write, 16 * 512, 12 * 512), (write.Kind, write.OffsetBytes, write.LengthBytes));
        Assert.Equal(
            [.. before.Select(request => request.Id).Reverse()],
            rig.Responses().Select(response => response.Id)
        );
        Assert.Equal(DiskOperationKind.Flush, Next(rig).Kind);
        Assert.Equal(barrier.Id, Assert.Single(rig.Responses()).Id);

        Assert.Equal(64 * 512, Next(rig).OffsetBytes);
        Assert.Equal(after.Id, Assert.Single(rig.Responses()).Id);
        Assert.Equal(rig.GuestBytes(in barrier), rig.Disk.Sectors(16, 12));
        Assert.Equal((1, 12 * 512), (rig.Statistics.Flush.Operations, rig.Statistics.Flush.Bytes));
    }

    [Theory, EveryAbi(0UL, ulong.MaxValue)]
    [Proves("B5")]
    public void A_barrier_without_data_is_one_flush(BlkifProtocol protocol, ulong sector)
    {
        using Rig rig = new(protocol);
        rig.Put(rig.Request(Blkif.OpWrite, 0, Requests.Pages(1)));
        rig.Put(rig.Request(Blkif.OpWriteBarrier, sector));
        rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        rig.PushAndRun();
        Assert.Equal(DiskOperationKind.Write, Next(rig).Kind);
        Assert.Equal(DiskOperationKind.Flush, Next(rig).Kind);
        Assert.Equal(DiskOperationKind.Read, Next(rig).Kind);
        Assert.All(rig.Responses(), response => Assert.Equal(Blkif.RspOkay, response.Status));
        Assert.Equal(3, rig.Statistics.Answered);
    }

    [Theory, EveryAbi(0, 1, 2)]
    [Proves("B5", "F9")]
    public void A_barrier_that_fails_at_any_stage_lets_the_queue_go_on(BlkifProtocol protocol, int failing)
    {
        using Rig rig = new(protocol);
        rig.Put(rig.Request(Blkif.OpWriteBarrier, 0, Requests.Pages(1)));
        rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        rig.PushAndRun();
        for (int stage = 0; stage < failing; stage++)
            Next(rig);
        rig.Disk.Complete(Assert.Single(rig.Disk.UnderWay), -Errno.EIO);
        rig.Run();
        Assert.Equal(Blkif.RspError, Assert.Single(rig.Responses()).Status);
        Assert.Equal(DiskOperationKind.Read, Next(rig).Kind);
        Assert.Equal(Blkif.RspOkay, Assert.Single(rig.Responses()).Status);
    }

    [Theory, EveryAbi]
    [Proves("B5")]
    public void A_barrier_whose_grant_is_bad_lets_the_queue_go_on(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        Blkif.DecodedRequest barrier = rig.Request(Blkif.OpWriteBarrier, 0, Requests.Pages(2));
        barrier.Seg[1].Gref = 0;
        rig.Put(rig.Request(Blkif.OpWrite, 0, Requests.Pages(1)));
        rig.Put(in barrier);
        rig.Put(rig.Request(Blkif.OpRead, 8, Requests.Pages(1)));
        rig.PushAndRun();
        rig.FinishDisk();
        Assert.Equal(
            [Blkif.RspError, Blkif.RspOkay, Blkif.RspOkay],
            rig.Responses().Select(response => (int)response.Status)
        );
        Assert.Equal(
            [DiskOperationKind.Write, DiskOperationKind.Read],
            rig.Disk.Started.Select(operation => operation.Kind)
        );
    }

    [Theory, EveryAbi]
    [Proves("B5")]
    public void A_barrier_rejected_lets_the_queue_go_on(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Put(rig.Request(Blkif.OpWriteBarrier, 0, (7, 0)));
        rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        rig.PushAndRun();
        rig.FinishDisk();
        Assert.Equal([Blkif.RspError, Blkif.RspOkay], rig.Responses().Select(response => (int)response.Status));
    }

    [Theory, EveryAbi(1, 2, 32)]
    [Proves("B5", "F9")]
    public void Barriers_in_a_row_are_served_one_after_the_other(BlkifProtocol protocol, int slots)
    {
        foreach (bool synchronous in (bool[])[false, true])
        {
            using Rig rig = new(protocol, new RigOptions { MaxInFlight = slots });
            if (synchronous)
                rig.Disk.Synchronous();
            for (int i = 0; i < 32; i++)
                rig.Put(
                    rig.Request(i % 3 == 0 ? Blkif.OpWrite : Blkif.OpWriteBarrier, (ulong)i * 8, Requests.Pages(i % 2))
                );
            rig.PushAndRun();
            rig.FinishDisk();
            Assert.Equal(32, rig.Responses().Count(response => response.Status == Blkif.RspOkay));
        }
    }

    /// <summary>The only operation under way; it is completed.</summary>
    private static ScriptedOperation Next(Rig rig)
    {
        ScriptedOperation operation = Assert.Single(rig.Disk.UnderWay);
        rig.Disk.Complete(operation);
        rig.Run();
        return operation;
    }
}
