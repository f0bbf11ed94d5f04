using Blkring.Abi;
using Blkring.Engine.Tests.Kit;
using Blkring.Interop;

namespace Blkring.Engine.Tests;

/// <summary>B11: what FLUSH_DISKCACHE does, and in which order.</summary>
public sealed class FlushTests
{
    // Linux leaves -1 in sector_number of a flush without data: blk_rq_init of its block layer, which blkfront copies as it is.
    [Theory, EveryAbi(0UL, 4096UL, 1UL << 55, ulong.MaxValue)]
    public void A_flush_without_segments_flushes_whatever_sector_it_names(BlkifProtocol protocol, ulong sector)
    {
        using Rig rig = new(protocol);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(Blkif.OpFlushDiskcache, sector)));
        Assert.Equal(DiskOperationKind.Flush, Assert.Single(rig.Disk.Started).Kind);
        Assert.Equal((1, 0), (rig.Statistics.Flush.Operations, rig.Statistics.Flush.Bytes));
        Assert.Equal(0, rig.Witness.CopyCalls);
    }

    [Theory, EveryAbi]
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
    public void A_flush_holds_nothing_else_up(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Put(rig.Request(Blkif.OpFlushDiskcache, 0));
        Blkif.DecodedRequest read = rig.Request(Blkif.OpRead, 0, Requests.Pages(1));
        rig.Put(in read);
        rig.PushAndRun();
        rig.Disk.Complete(rig.Disk.UnderWay[1]);
        rig.Run();
        Assert.Equal(read.Id, Assert.Single(rig.Responses()).Id);
        rig.FinishDisk();
        Assert.Single(rig.Responses());
    }
}
