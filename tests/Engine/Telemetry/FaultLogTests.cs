using System.Diagnostics;
using Blkring.Engine.Telemetry;

namespace Blkring.Engine.Tests.Telemetry;

/// <summary>B13: what a guest can make us log.</summary>
public sealed class FaultLogTests
{
    private static readonly long s_second = Stopwatch.Frequency;

    [Fact]
    [Proves("B13")]
    public void A_burst_is_kept_then_one_a_second_and_the_next_record_says_how_many_are_missing()
    {
        FaultLog log = new();
        long now = 100 * s_second;
        for (int i = 0; i < 50; i++)
            log.Report(FaultKind.Disk, 1, 5, (ulong)i, now);
        List<Fault> kept = ReadAll(log);
        Assert.Equal(
            Enumerable.Range(0, FaultLog.Burst).Select(i => new Fault(FaultKind.Disk, 1, 5, (ulong)i, 0)),
            kept
        );
        Assert.Equal(50 - FaultLog.Burst, log.Suppressed);

        // Just before a second has passed none is admitted, after a second one is.
        log.Report(FaultKind.Disk, 1, 5, 50, now + s_second - 1);
        Assert.Empty(ReadAll(log));
        log.Report(FaultKind.GrantCopy, 0, -3, 51, now + s_second);
        log.Report(FaultKind.GrantCopy, 0, -3, 52, now + s_second);
        Assert.Equal([new Fault(FaultKind.GrantCopy, 0, -3, 51, 51 - FaultLog.Burst)], ReadAll(log));

        // After a long quiet time there is one burst again, and no more.
        for (int i = 0; i < 50; i++)
            log.Report(FaultKind.Disk, 1, 5, 0, now + (1000 * s_second));
        Assert.Equal(FaultLog.Burst, ReadAll(log).Count);
    }

    [Fact]
    public void A_reader_that_does_not_come_loses_records_and_no_count()
    {
        FaultLog log = new();
        for (int i = 0; i < 1000; i++)
            log.Report(FaultKind.Disk, 1, 5, (ulong)i, (100 + i) * s_second);
        List<Fault> kept = ReadAll(log);
        Assert.InRange(kept.Count, FaultLog.Burst, 16);
        Assert.Equal(1000, kept.Count + log.Suppressed);
    }

    [Fact]
    [Proves("B4")]
    public void A_broken_ring_is_reported_however_full_the_log_is()
    {
        FaultLog log = new();
        for (int i = 0; i < 1000; i++)
            log.Report(FaultKind.InvalidRequest, 1, 5, 0, (100 + i) * s_second);
        long missing = log.Suppressed;
        log.ReportBrokenRing(requestProducer: 77, requestConsumer: 12, 1100 * s_second);
        Fault last = ReadAll(log)[^1];
        Assert.Equal(
            (FaultKind.BrokenRing, 77U, 12U, missing),
            (last.Kind, last.RequestProducer, last.RequestConsumer, last.Suppressed)
        );
    }

    [Fact]
    public void One_thread_writes_while_another_reads()
    {
        FaultLog log = new();
        const int Faults = 20_000;
        Thread writer = new(() =>
        {
            for (int i = 1; i <= Faults; i++)
                log.Report(FaultKind.Disk, (byte)i, i, (ulong)i, i * s_second);
        });
        writer.Start();
        List<Fault> read = [];
        for (bool last = false; !last; )
        {
            last = !writer.IsAlive;
            read.AddRange(ReadAll(log));
        }
        // Each is whole, and they come in order.
        Assert.All(read, fault => Assert.Equal((fault.Code, (ulong)fault.Code), ((int)fault.Sector, fault.Sector)));
        Assert.Equal(read.OrderBy(fault => fault.Code), read);
        Assert.True(read.Count > 0);
    }

    private static List<Fault> ReadAll(FaultLog log)
    {
        List<Fault> faults = [];
        while (log.TryRead(out Fault fault))
            faults.Add(fault);
        return faults;
    }
}
