using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests.Queues;

/// <summary>B5 and B6: what is offered, what is not, and what a read-only disk refuses.</summary>
public sealed class OperationTests
{
    [Theory, EveryAbi]
    [Proves("B5")]
    public void Every_operation_is_served_or_answered_with_eopnotsupp(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Disk.Synchronous();
        for (int operation = 0; operation <= byte.MaxValue; operation++)
        {
            Blkif.DecodedRequest request = rig.Request(operation, 8, Requests.Pages(1));
            request.NrSectors = 8;
            int expected = operation
                is Blkif.OpRead
                    or Blkif.OpWrite
                    or Blkif.OpWriteBarrier
                    or Blkif.OpFlushDiskcache
                    or Blkif.OpDiscard
                ? Blkif.RspOkay
                : Blkif.RspEopnotsupp;
            Assert.Equal(expected, rig.StatusOf(in request));
        }
        Assert.Equal(256 - 5, rig.Statistics.Other.Invalid);
        Assert.Equal(256, rig.Statistics.Answered);
    }

    [Theory, EveryAbi(0, 1, 11, 256, 65535)]
    [Proves("B5")]
    public void Indirect_requests_that_are_not_offered_touch_nothing(BlkifProtocol protocol, int segments)
    {
        using Rig rig = new(protocol);
        foreach (byte operation in (byte[])[Blkif.OpRead, Blkif.OpWrite, 9])
        {
            Blkif.DecodedRequest request = rig.Request(Blkif.OpIndirect, 0);
            (request.IndirectOp, request.NrSegments) = (operation, (ushort)segments);
            for (int i = 0; i < Blkif.MaxIndirectPagesPerRequest; i++)
                request.IndirectGrefs[i] = rig.Frontend.GrantOf(i, 0, readOnly: true).Value;
            rig.Put(in request);
            rig.PushAndRun();
            Blkif.DecodedResponse response = Assert.Single(rig.Responses());
            Assert.Equal((Blkif.OpIndirect, Blkif.RspEopnotsupp), (response.Operation, response.Status));
        }
        Assert.Empty(rig.Disk.Started);
        Assert.Equal(0, rig.Witness.CopyCalls);
    }

    [Theory, EveryAbi(false, true)]
    [Proves("B6")]
    public void A_read_only_disk_refuses_all_but_read(BlkifProtocol protocol, bool diskItself)
    {
        using Rig rig = new(protocol, new RigOptions { ReadOnly = diskItself, ReadOnlyMode = !diskItself });
        rig.Disk.Synchronous();

        Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(Blkif.OpWrite, 0, Requests.Pages(1))));
        Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(Blkif.OpWriteBarrier, 0, Requests.Pages(1))));
        Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(Blkif.OpWriteBarrier, 0)));
        Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(Blkif.OpFlushDiskcache, 0)));
        Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(Blkif.OpFlushDiskcache, 0, Requests.Pages(1))));
        Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Discard(0, 8)));
        Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Discard(0, 0)));
        Assert.Empty(rig.Disk.Started);
        Assert.Equal(0, rig.Witness.CopyCalls);
        Assert.Equal(
            (1, 4, 2),
            (rig.Statistics.Write.Invalid, rig.Statistics.Flush.Invalid, rig.Statistics.Discard.Invalid)
        );

        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(Blkif.OpRead, 0, Requests.Pages(1))));
        Assert.Equal(DiskOperationKind.Read, Assert.Single(rig.Disk.Started).Kind);
    }
}
