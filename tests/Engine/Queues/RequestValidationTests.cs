using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests.Queues;

/// <summary>
/// B7 and B8: requests that can never be served are answered at once, with their own id, and counted for their kind.
/// </summary>
public sealed class RequestValidationTests
{
    private const int Capacity = 4096;

    // Name, sector, segments; the count put on the ring is that of the segments.
    private static readonly (string Name, ulong Sector, (int First, int Last)[] Segments)[] s_bad =
    [
        ("12 segments", 0, Requests.Pages(12)),
        ("255 segments", 0, Requests.Pages(255)),
        ("first after last", 0, [(3, 2)]),
        ("first after last in the last segment", 0, [(0, 7), (0, 7), (7, 0)]),
        ("last sector 8", 0, [(0, 8)]),
        ("last sector 255", 0, [(0, 255)]),
        ("first and last 255", 0, [(255, 255)]),
        ("last sector 8 in the middle", 0, [(0, 7), (8, 8), (0, 7)]),
        ("one sector past the end", Capacity - 7, [(0, 7)]),
        ("one sector past the end with several segments", Capacity - 15, [(0, 7), (0, 7)]),
        ("start at the end", Capacity, [(0, 0)]),
        ("start past the end", Capacity + 1, [(0, 0)]),
        ("2^54: the byte offset is 2^63", 1UL << 54, [(0, 0)]),
        ("2^55: the byte offset wraps to 0", 1UL << 55, [(0, 7)]),
        ("2^55 + 8: the byte offset wraps to 8 sectors", (1UL << 55) + 8, [(0, 7)]),
        ("2^63", 1UL << 63, [(0, 7)]),
        ("2^64 - 1: the end wraps to 0", ulong.MaxValue, [(0, 0)]),
        ("2^64 - 8: the end wraps to 0", ulong.MaxValue - 7, [(0, 7)]),
    ];

    [Theory, EveryAbi(Blkif.OpRead, Blkif.OpWrite, Blkif.OpFlushDiskcache, Blkif.OpWriteBarrier)]
    [Proves("B7")]
    public void What_can_never_be_served_is_an_error_for_its_own_id_and_touches_nothing(
        BlkifProtocol protocol,
        int operation
    )
    {
        using Rig rig = new(protocol, new RigOptions { Sectors = Capacity });
        foreach ((string name, ulong sector, (int, int)[] segments) in s_bad)
            Assert.True(Blkif.RspError == rig.StatusOf(rig.Request(operation, sector, segments)), name);

        Assert.Empty(rig.Disk.Started);
        Assert.Equal(0, rig.Witness.CopyCalls);
        Assert.Equal(0, rig.Queue.InFlight);
    }

    [Theory, EveryAbi]
    [Proves("B8")]
    public void A_rejected_request_is_counted_for_its_kind_and_the_loop_goes_on(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, new RigOptions { Sectors = Capacity });
        rig.Disk.Synchronous();
        List<(ulong Id, int Status)> expected = [];
        foreach (int operation in Requests.WithSegments)
        {
            foreach ((_, ulong sector, (int, int)[] segments) in s_bad[..3])
            {
                Post(rig.Request(operation, sector, segments), Blkif.RspError);
                Post(rig.Request(operation, 0, Requests.Pages(1)), Blkif.RspOkay);
            }
        }
        Post(rig.Discard(Capacity, 1), Blkif.RspError);
        Post(rig.Request(77, 0), Blkif.RspEopnotsupp);
        rig.PushAndRun();

        Assert.Equal(expected.Order(), rig.Responses().Select(response => (response.Id, (int)response.Status)).Order());
        Assert.Equal(
            (3, 3, 6, 1, 1),
            (
                rig.Statistics.Read.Invalid,
                rig.Statistics.Write.Invalid,
                rig.Statistics.Flush.Invalid,
                rig.Statistics.Discard.Invalid,
                rig.Statistics.Other.Invalid
            )
        );
        Assert.Equal(
            (3, 3, 6),
            (rig.Statistics.Read.Operations, rig.Statistics.Write.Operations, rig.Statistics.Flush.Operations)
        );
        Assert.Equal((0, 0, 0), (rig.Statistics.Read.Failed, rig.Statistics.Write.Failed, rig.Statistics.Flush.Failed));
        Assert.All(rig.Faults(), fault => Assert.Equal(FaultKind.InvalidRequest, fault.Kind));

        void Post(Blkif.DecodedRequest request, int status)
        {
            expected.Add((request.Id, status));
            rig.Put(in request);
        }
    }

    [Theory, EveryAbi]
    [Proves("B8")]
    public void A_rejected_request_is_answered_before_one_that_waits_for_the_disk(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        Blkif.DecodedRequest bad = rig.Request(Blkif.OpRead, 0, (3, 2));
        rig.Put(in bad);
        rig.PushAndRun();
        Assert.Equal(bad.Id, Assert.Single(rig.Responses()).Id);
        rig.FinishDisk();
        Assert.Equal(Blkif.RspOkay, Assert.Single(rig.Responses()).Status);
    }

    [Theory, EveryAbi]
    [Proves("B7")]
    public void What_just_fits_is_served(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, new RigOptions { Sectors = Capacity });
        foreach (int operation in Requests.WithSegments)
        {
            Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(operation, Capacity - 1, (7, 7))));
            Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(operation, Capacity - 8, (0, 7))));
            Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(operation, Capacity - 88, Requests.Pages(11))));
            Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(operation, 0, (0, 0), (7, 7), (3, 4))));
        }
        Assert.Equal(4, rig.Disk.Started.Count(operation => operation.Kind == DiskOperationKind.Read));
    }

    [Theory, EveryAbi]
    [Proves("B7", "F12")]
    public void The_length_is_the_sum_over_the_segments(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(Blkif.OpRead, 100, (1, 1), (0, 7), (2, 6))));
        ScriptedOperation read = Assert.Single(rig.Disk.Started);
        Assert.Equal((100 * 512, 14 * 512), (read.OffsetBytes, read.LengthBytes));
    }

    [Theory, EveryAbi(Blkif.OpRead, Blkif.OpWrite)]
    [Proves("B7")]
    public void A_transfer_without_segments_moves_nothing_and_is_okay(BlkifProtocol protocol, int operation)
    {
        using Rig rig = new(protocol);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(operation, 0)));
        Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(operation, ulong.MaxValue)));
        Assert.Empty(rig.Disk.Started);
    }

    [Theory]
    [InlineData(0UL, 0UL, 1L, true)]
    [InlineData(1UL, 0UL, 1L, true)]
    [InlineData(1UL, 1UL, 1L, false)]
    [InlineData(0UL, 1UL, 1L, true)]
    [InlineData(0UL, 2UL, 1L, false)]
    [InlineData(ulong.MaxValue, 0UL, long.MaxValue, false)]
    [InlineData(ulong.MaxValue, 1UL, long.MaxValue, false)]
    [InlineData(1UL, ulong.MaxValue, long.MaxValue, false)]
    [InlineData((ulong)long.MaxValue, 0UL, long.MaxValue, true)]
    [InlineData((ulong)long.MaxValue - 1, 1UL, long.MaxValue, true)]
    [InlineData((ulong)long.MaxValue, 1UL, long.MaxValue, false)]
    [InlineData(1UL << 63, 1UL << 63, long.MaxValue, false)]
    [Proves("B7")]
    public void A_range_fits_the_disk_or_not_and_nothing_wraps(ulong start, ulong length, long capacity, bool fits) =>
        Assert.Equal(fits, RequestValidator.FitsDisk(start, length, capacity));
}
