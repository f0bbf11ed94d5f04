using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Tests.Kit;
using Blkring.Interop;

namespace Blkring.Engine.Tests.Disks;

/// <summary>B13: disks that transfer less than asked, fail, or report completions of nothing.</summary>
public sealed class DiskFaultTests
{
    [Theory, EveryAbi(Blkif.OpRead, Blkif.OpWrite, Blkif.OpFlushDiskcache, Blkif.OpWriteBarrier)]
    [Proves("B13")]
    public void Short_transfers_of_every_length_are_continued(BlkifProtocol protocol, int operation)
    {
        using Rig rig = new(protocol);
        for (int most = 1; most <= 12; most++)
        {
            new Random(most).NextBytes(rig.Disk.Content);
            bool synchronous = most % 2 == 0;
            rig.Disk.OnStart = started =>
                !started.IsTransfer || synchronous ? Shortly(rig, started, most) : IDiskIo.Pending;
            Blkif.DecodedRequest request = rig.Request(operation, 100, (2, 7), (0, 5));
            rig.FillGuest(in request);
            rig.Put(in request);
            rig.PushAndRun();
            while (rig.Disk.UnderWay is [ScriptedOperation started])
            {
                rig.Disk.Complete(started, Math.Min(started.LengthBytes, most * 512));
                rig.Run();
            }
            Assert.Equal(Blkif.RspOkay, Assert.Single(rig.Responses()).Status);
            Assert.Equal(rig.GuestBytes(in request), rig.Disk.Sectors(100, 12));
        }
        // 12 sectors in pieces of at most 1, 2, … 12.
        Assert.Equal(
            12 + 6 + 4 + 3 + 3 + 2 + 2 + 2 + 2 + 2 + 2 + 1,
            rig.Disk.Started.Count(started => started.IsTransfer)
        );
        Assert.Equal(0, rig.Statistics.Retries);
    }

    [Theory, EveryAbi(Blkif.OpRead, Blkif.OpWrite, Blkif.OpFlushDiskcache, Blkif.OpWriteBarrier)]
    [Proves("B13")]
    public void A_transfer_that_moves_nothing_is_an_error_and_ends(BlkifProtocol protocol, int operation)
    {
        foreach (int whole in (int[])[0, 512])
        {
            using Rig rig = new(protocol);
            bool first = true;
            rig.Disk.OnStart = started =>
            {
                if (!started.IsTransfer)
                    return 0;
                int moved = first ? whole : 0;
                first = false;
                return rig.Disk.Perform(started, moved);
            };
            Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(operation, 0, Requests.Pages(2))));
            Assert.Equal(
                (FaultKind.Disk, Errno.EIO),
                (Assert.Single(rig.Faults()) is var fault ? fault.Kind : default, fault.Code)
            );
        }
    }

    [Theory, EveryAbi]
    public void A_guest_that_keeps_the_queue_turning_does_not_use_up_the_retries(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, new RigOptions { RetryDelay = TimeSpan.FromHours(1) });
        rig.Disk.OnStart = operation => operation.Number == 0 ? -Errno.EAGAIN : rig.Disk.Perform(operation);
        rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        Assert.Equal(PassResult.Retry, rig.PushAndRun());

        for (int i = 0; i < 2000; i++)
        {
            rig.Put(rig.Request(Blkif.OpRead, 8, Requests.Pages(1)));
            Assert.Equal(PassResult.Retry, rig.PushAndRun());
            Assert.Equal(Blkif.RspOkay, Assert.Single(rig.Responses()).Status);
        }
        Assert.Equal(1, rig.Statistics.Retries);
        Assert.Equal(1, rig.Queue.InFlight);
    }

    [Theory, EveryAbi(Errno.EINTR, Errno.EAGAIN)]
    [Proves("B13")]
    public void An_interruption_is_tried_again_until_it_passes(BlkifProtocol protocol, int errno)
    {
        foreach (bool synchronous in (bool[])[false, true])
        {
            using Rig rig = new(protocol);
            if (synchronous)
                rig.Disk.OnStart = started => started.Number < 20 ? -errno : rig.Disk.Perform(started);
            Blkif.DecodedRequest request = rig.Request(Blkif.OpWrite, 8, Requests.Pages(3));
            rig.FillGuest(in request);
            rig.Put(in request);
            Assert.Equal(synchronous ? PassResult.Retry : PassResult.Idle, rig.PushAndRun());
            for (int turn = 0; turn < 20; turn++)
            {
                Assert.Empty(rig.Responses());
                if (!synchronous)
                    rig.Disk.Complete(Assert.Single(rig.Disk.UnderWay), -errno);
                // One turn notices, the next starts again.
                rig.Run();
                if (!synchronous)
                    rig.Run();
            }
            rig.FinishDisk();
            Assert.Equal(Blkif.RspOkay, Assert.Single(rig.Responses()).Status);
            Assert.Equal(rig.GuestBytes(in request), rig.Disk.Sectors(8, 24));
            Assert.Equal(20, rig.Statistics.Retries);
            Assert.Empty(rig.Faults());
        }
    }

    [Theory, EveryAbi(Errno.EINTR, Errno.EAGAIN)]
    [Proves("B13")]
    public void An_interruption_that_never_passes_is_given_up(BlkifProtocol protocol, int errno)
    {
        using Rig rig = new(protocol);
        rig.Disk.OnStart = _ => -errno;
        foreach (
            Blkif.DecodedRequest request in (Blkif.DecodedRequest[])
                [
                    rig.Request(Blkif.OpRead, 0, Requests.Pages(1)),
                    rig.Request(Blkif.OpFlushDiskcache, 0),
                    rig.Discard(0, 8),
                ]
        )
        {
            rig.Put(in request);
            rig.Frontend.Push();
            int turns = 0;
            while (rig.Queue.RunPass() == PassResult.Retry)
                Assert.True(++turns < 100_000, "the queue never gives up");
            Assert.Equal(Blkif.RspError, Assert.Single(rig.Responses()).Status);
            Assert.Equal(
                (FaultKind.Disk, errno),
                (Assert.Single(rig.Faults()) is var fault ? fault.Kind : default, fault.Code)
            );
        }
        Assert.Equal(
            (1, 1, 1),
            (rig.Statistics.Read.Failed, rig.Statistics.Flush.Failed, rig.Statistics.Discard.Failed)
        );
    }

    [Theory, EveryAbi(Errno.ENOSPC, Errno.EIO, Errno.EBADF, Errno.ECANCELED)]
    [Proves("B13")]
    public void Any_other_error_is_told_to_the_guest_at_once_and_reported(BlkifProtocol protocol, int errno)
    {
        foreach (bool synchronous in (bool[])[false, true])
        {
            using Rig rig = new(protocol);
            if (synchronous)
                rig.Disk.OnStart = _ => -errno;
            foreach (int operation in (int[])[Blkif.OpRead, Blkif.OpWrite, Blkif.OpFlushDiskcache])
            {
                rig.Put(rig.Request(operation, 24, Requests.Pages(1)));
                rig.PushAndRun();
                if (!synchronous)
                    rig.Disk.Complete(Assert.Single(rig.Disk.UnderWay), -errno);
                rig.Run();
                Assert.Equal(Blkif.RspError, Assert.Single(rig.Responses()).Status);
                Assert.Equal(new Fault(FaultKind.Disk, (byte)operation, errno, 24, 0), Assert.Single(rig.Faults()));
            }
            Assert.Equal(
                (1, 1, 1),
                (rig.Statistics.Read.Failed, rig.Statistics.Write.Failed, rig.Statistics.Flush.Failed)
            );
            // None of them is fatal.
            rig.Disk.Synchronous();
            Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(Blkif.OpRead, 0, Requests.Pages(1))));
        }
    }

    [Theory, EveryAbi]
    [Proves("B13")]
    public void Completions_out_of_order_answer_their_own_requests(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        Random random = new(9);
        new Random(1).NextBytes(rig.Disk.Content);
        Dictionary<ulong, Blkif.DecodedRequest> posted = [];
        for (int i = 0; i < 32; i++)
        {
            Blkif.DecodedRequest request = rig.Request(Blkif.OpRead, (ulong)(i * 100), Requests.Pages((i % 11) + 1));
            posted.Add(request.Id, request);
            rig.Put(in request);
        }
        rig.PushAndRun();
        while (rig.Disk.UnderWay is { Length: > 0 } underWay)
        {
            ScriptedOperation chosen = underWay[random.Next(underWay.Length)];
            rig.Disk.Complete(chosen);
            rig.Run();
            Blkif.DecodedResponse response = Assert.Single(rig.Responses());
            Assert.True(posted.Remove(response.Id, out Blkif.DecodedRequest request), "an id that is not outstanding");
            Assert.Equal((long)request.SectorNumber * 512, chosen.OffsetBytes);
            Assert.Equal(
                rig.Disk.Sectors((int)request.SectorNumber, Requests.SectorsOf(in request)),
                rig.GuestBytes(in request)
            );
        }
        Assert.Empty(posted);
    }

    [Theory, EveryAbi]
    [Proves("B13")]
    public void A_completion_that_comes_twice_is_noticed_and_not_followed(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, new RigOptions { MaxInFlight = 1 });
        rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        rig.Put(rig.Request(Blkif.OpRead, 8, Requests.Pages(1)));
        rig.PushAndRun();
        ScriptedOperation first = Assert.Single(rig.Disk.UnderWay);
        rig.Disk.Complete(first);
        rig.Disk.CompleteAgain(first, 4096);
        rig.Run();
        // The slot now serves the second request, which the duplicate must not end.
        Assert.Single(rig.Responses());
        rig.Disk.CompleteAgain(first, 4096);
        rig.Disk.CompleteAgain(first, -Errno.EIO);
        rig.Run();
        Assert.Empty(rig.Responses());
        Assert.Equal(3, rig.Statistics.StaleCompletions);
        rig.FinishDisk();
        Assert.Equal(Blkif.RspOkay, Assert.Single(rig.Responses()).Status);
    }

    [Theory, EveryAbi]
    [Proves("B13")]
    public void A_piece_of_a_transfer_that_completes_twice_is_not_taken_for_the_next_piece(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(2)));
        rig.PushAndRun();
        ScriptedOperation piece = Assert.Single(rig.Disk.UnderWay);
        rig.Disk.Complete(piece, 4096);
        rig.Run();
        rig.Disk.CompleteAgain(piece, 4096);
        rig.Run();
        Assert.Empty(rig.Responses());
        Assert.Equal(1, rig.Statistics.StaleCompletions);
        rig.FinishDisk();
        Assert.Equal(Blkif.RspOkay, Assert.Single(rig.Responses()).Status);
    }

    [Theory, EveryAbi]
    [Proves("B13")]
    public void A_piece_of_a_discard_that_completes_twice_is_not_taken_for_another(BlkifProtocol protocol)
    {
        const long PieceSectors = (int.MaxValue - 511) / 512;
        using Rig rig = new(protocol, new RigOptions { Sectors = 200 * PieceSectors });
        rig.Put(rig.Discard(0, (ulong)(200 * PieceSectors)));
        rig.PushAndRun();
        // All others complete while one is slow.
        ScriptedOperation slow = rig.Disk.UnderWay[0];
        int strays = 0;
        while (rig.Disk.UnderWay.FirstOrDefault(piece => piece != slow) is { } piece)
        {
            rig.Disk.Complete(piece);
            for (; strays < 2 * piece.Number; strays++)
                rig.Disk.CompleteAgain(piece, -Errno.EIO);
            rig.Run();
            Assert.Empty(rig.Responses());
        }
        Assert.Equal(strays, rig.Statistics.StaleCompletions);
        rig.FinishDisk();
        Assert.Equal(Blkif.RspOkay, Assert.Single(rig.Responses()).Status);
        Assert.Equal(200, rig.Disk.Started.Length);
    }

    [Theory, EveryAbi]
    [Proves("B13")]
    public void Completions_that_belong_to_nothing_are_noticed_and_not_followed(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        rig.PushAndRun();
        ulong good = Assert.Single(rig.Disk.UnderWay).Tag;
        // An earlier and a later use of the slot, slots that are free, and slots that do not exist.
        foreach (
            ulong tag in (ulong[])
                [good - 1, good + 1, good + (1UL << 32), good | (32UL << 32), good | (0xfffeUL << 32), ulong.MaxValue]
        )
            rig.Disk.CompleteTag(tag, 4096);
        rig.Run();
        Assert.Empty(rig.Responses());
        Assert.Equal(6, rig.Statistics.StaleCompletions);
        rig.FinishDisk();
        Assert.Single(rig.Responses());
    }

    [Theory, EveryAbi]
    public void More_completions_than_one_reap_takes_are_all_taken_in_one_turn(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, new RigOptions { RingPages = 16 });
        // A write has nothing left to copy.
        for (int i = 0; i < 512; i++)
            rig.Put(rig.Request(Blkif.OpWrite, 0, Requests.Pages(1)));
        rig.PushAndRun();
        rig.Disk.CompleteAll();
        rig.Queue.RunPass();
        Assert.Equal(512, rig.Responses().Count);
    }

    [Theory, EveryAbi]
    [Proves("B13")]
    public void A_guest_cannot_make_us_report_more_than_a_burst(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        const int Bad = 100_000;
        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        int records = 0;
        for (int posted = 0; posted < Bad; )
        {
            for (int i = 0; i < 32 && posted < Bad; i++, posted++)
                rig.Put(rig.Request(Blkif.OpRead, ulong.MaxValue, Requests.Pages(1)));
            rig.PushAndRun();
            rig.Responses();
            records += rig.Faults().Count;
        }
        // One record a second comes on top of the burst, if this takes longer than a second.
        int seconds = (int)System.Diagnostics.Stopwatch.GetElapsedTime(start).TotalSeconds + 1;
        Assert.InRange(records, FaultLog.Burst, FaultLog.Burst + seconds);
        Assert.Equal(Bad - records, rig.Queue.Faults.Suppressed);
        Assert.Equal(Bad, rig.Statistics.Read.Invalid);
    }

    private static int Shortly(Rig rig, ScriptedOperation operation, int mostSectors) =>
        rig.Disk.Perform(operation, Math.Min(operation.LengthBytes, mostSectors * 512));
}
