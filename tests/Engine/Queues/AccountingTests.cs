using Blkring.Abi;
using Blkring.Engine.Queues;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Tests.Kit;
using Blkring.Interop;

namespace Blkring.Engine.Tests.Queues;

/// <summary>B21: what is counted for each kind of request.</summary>
public sealed class AccountingTests
{
    [Theory, EveryAbi]
    [Proves("B21")]
    public void Operations_bytes_failed_and_invalid_are_counted_for_each_kind(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        // Sector 800 is bad on this disk.
        rig.Disk.OnStart = operation => operation.OffsetBytes == 800 * 512 ? -Errno.EIO : rig.Disk.Perform(operation);
        for (int i = 0; i < 3; i++)
        {
            rig.StatusOf(rig.Request(Blkif.OpRead, 8, (0, 2)));
            rig.StatusOf(rig.Request(Blkif.OpWrite, 8, (0, 7), (1, 1)));
            rig.StatusOf(rig.Request(Blkif.OpFlushDiskcache, 8));
            rig.StatusOf(rig.Request(Blkif.OpFlushDiskcache, 8, (0, 0)));
            rig.StatusOf(rig.Request(Blkif.OpWriteBarrier, 8, (0, 1)));
            rig.StatusOf(rig.Discard(16, 100));
        }
        foreach (int operation in Requests.WithSegments)
        {
            rig.StatusOf(rig.Request(operation, 800, (0, 0)));
            rig.StatusOf(rig.Request(operation, 0, (1, 0)));
        }
        rig.StatusOf(rig.Discard(800, 1));
        rig.StatusOf(rig.Discard(4096, 1));
        rig.StatusOf(rig.Request(200, 0));

        Assert.Equal((3, 3 * 3 * 512, 1, 1), Figures(rig.Statistics.Read));
        Assert.Equal((3, 3 * 9 * 512, 1, 1), Figures(rig.Statistics.Write));
        // FLUSH alone, FLUSH with data and BARRIER; a failure and a rejection of the last two.
        Assert.Equal((9, 3 * 3 * 512, 2, 2), Figures(rig.Statistics.Flush));
        Assert.Equal((3, 3 * 100 * 512, 1, 1), Figures(rig.Statistics.Discard));
        Assert.Equal((0, 0, 0, 1), Figures(rig.Statistics.Other));
        Assert.Equal(18 + 5 + 6, rig.Statistics.Answered);
    }

    [Theory, EveryAbi]
    [Proves("B21")]
    public void Latency_is_recorded_for_what_was_served_and_not_for_what_was_rejected(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        rig.PushAndRun();
        long before = System.Diagnostics.Stopwatch.GetTimestamp();
        while (System.Diagnostics.Stopwatch.GetElapsedTime(before).TotalMicroseconds < 200) { }
        rig.FinishDisk();
        Assert.Single(rig.Responses());
        rig.Disk.OnStart = _ => -Errno.EIO;
        rig.StatusOf(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        rig.StatusOf(rig.Request(Blkif.OpRead, 0, (7, 0)));

        LatencyHistogram latency = rig.Statistics.Read.LatencyNs;
        Assert.Equal(2, latency.Count);
        // The disk held the first for 200 µs at least.
        Assert.InRange(latency.Max, 200_000, long.MaxValue);
        Assert.Equal(latency.Max, latency.ValueAt(1));
        Assert.True(latency.Sum >= latency.Max);
        Assert.Equal(0, rig.Statistics.Write.LatencyNs.Count);
    }

    [Theory, EveryAbi]
    [Proves("B21")]
    public void Queue_depth_and_batch_sizes_are_sampled(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        foreach (int batch in (int[])[1, 5, 10])
        {
            for (int i = 0; i < batch; i++)
                rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
            rig.PushAndRun();
        }
        Assert.Equal(
            (3, 16, 10),
            (rig.Statistics.BatchSize.Count, rig.Statistics.BatchSize.Sum, rig.Statistics.BatchSize.Max)
        );
        // 1, then 6, then 16 under way.
        Assert.Equal(
            (3, 23, 16),
            (rig.Statistics.QueueDepth.Count, rig.Statistics.QueueDepth.Sum, rig.Statistics.QueueDepth.Max)
        );
    }

    private static (long, long, long, long) Figures(KindStatistics kind) =>
        (kind.Operations, kind.Bytes, kind.Failed, kind.Invalid);
}
