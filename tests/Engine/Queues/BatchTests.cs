using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests.Queues;

/// <summary>B16: what a pass over the ring costs, however many requests it serves.</summary>
public sealed class BatchTests
{
    [Theory, EveryAbi(1, 16)]
    [Proves("B16", "F5")]
    public void A_pass_costs_one_grant_copy_one_push_and_at_most_one_notification(BlkifProtocol protocol, int pages)
    {
        using Rig rig = new(protocol, new RigOptions { RingPages = pages });
        rig.Disk.Synchronous();
        // As much as a pass takes.
        int requests = Math.Min(rig.Frontend.EntryCount, VbdQueue.MaxSegmentsPerPass),
            segments = VbdQueue.MaxSegmentsPerPass / requests;
        for (int round = 1; round <= 5; round++)
        {
            for (int i = 0; i < requests; i++)
                rig.Put(rig.Request(i % 2 == 0 ? Blkif.OpRead : Blkif.OpWrite, 0, Requests.Pages(segments)));
            rig.Frontend.Push();
            rig.Frontend.Header.RspEvent = rig.Frontend.Header.RspProd + 1;
            Assert.Equal(PassResult.Idle, rig.Queue.RunPass());
            Assert.Equal(requests, rig.Responses().Count);
            Assert.Equal(
                (round, round * requests * segments, round),
                (rig.Witness.CopyCalls, rig.Witness.CopySegments, rig.Witness.Notifications)
            );
            Assert.Equal(
                (round, round, round),
                (rig.Statistics.GrantCopyCalls, rig.Statistics.Pushes, rig.Statistics.Notifications)
            );
            Assert.Equal(round * requests * segments, rig.Statistics.GrantCopySegments);
            Assert.Equal(round, rig.Statistics.Passes);
        }
        Assert.Equal(requests, rig.Statistics.BatchSize.Max);
    }

    [Theory, EveryAbi(1, 16)]
    public void Beside_a_frontend_at_work_a_pass_takes_a_quarter_of_what_is_posted_and_not_less_than_eight(
        BlkifProtocol protocol,
        int pages
    )
    {
        using Rig rig = new(protocol, new RigOptions { RingPages = pages });
        rig.Disk.Synchronous();
        foreach (int posted in new[] { 1, 7, 8, 9, 32, rig.Frontend.EntryCount })
        {
            List<ulong> expected = [],
                answered = [];
            for (int i = 0; i < posted; i++)
            {
                Blkif.DecodedRequest request = rig.Request(
                    i % 2 == 0 ? Blkif.OpRead : Blkif.OpWrite,
                    0,
                    Requests.Pages(1)
                );
                rig.Put(request);
                expected.Add(request.Id);
            }
            rig.Frontend.Push();
            while (answered.Count < posted)
            {
                int left = posted - answered.Count,
                    share = Math.Min(left, Math.Max(left / 4, 8));
                (long pushes, long copies) = (rig.Statistics.Pushes, rig.Statistics.GrantCopyCalls);
                Assert.Equal(
                    share < left ? PassResult.More : PassResult.Idle,
                    rig.Queue.RunPass(frontendHasOwnCpu: true)
                );
                ulong[] now = [.. rig.Responses().Select(response => response.Id)];
                Assert.Equal(share, now.Length);
                Assert.Equal((1, 1), (rig.Statistics.Pushes - pushes, rig.Statistics.GrantCopyCalls - copies));
                answered.AddRange(now);
            }
            Assert.Equal(expected.Order(), answered.Order());
        }
    }

    [Theory, EveryAbi]
    [Proves("B16")]
    public void Reads_that_complete_together_are_copied_and_answered_together(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        for (int i = 0; i < 32; i++)
            rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(3)));
        rig.PushAndRun();
        Assert.Equal((0, 0), (rig.Witness.CopyCalls, rig.Statistics.Pushes));
        rig.Disk.CompleteAll();
        rig.Queue.RunPass();
        Assert.Equal((1, 96, 1), (rig.Witness.CopyCalls, rig.Witness.CopySegments, rig.Statistics.Pushes));
        Assert.Equal(32, rig.Responses().Count);
    }

    [Theory, EveryAbi]
    [Proves("B16")]
    public void Completions_and_new_requests_share_the_grant_copy_and_the_push(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        for (int i = 0; i < 8; i++)
            rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        rig.PushAndRun();
        rig.Disk.CompleteAll();
        rig.Disk.Synchronous();
        for (int i = 0; i < 8; i++)
            rig.Put(rig.Request(Blkif.OpWrite, 0, Requests.Pages(1)));
        rig.Frontend.Push();
        rig.Queue.RunPass();
        Assert.Equal(16, rig.Responses().Count);
        Assert.Equal((1, 16, 1), (rig.Witness.CopyCalls, rig.Witness.CopySegments, rig.Statistics.Pushes));
    }

    [Theory, EveryAbi]
    [Proves("B16")]
    public void A_request_that_needs_no_data_needs_no_grant_copy(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Disk.Synchronous();
        rig.Put(rig.Request(Blkif.OpFlushDiskcache, 0));
        rig.Put(rig.Discard(0, 8));
        rig.Put(rig.Request(Blkif.OpWrite, 0));
        rig.Put(rig.Request(Blkif.OpRead, 0));
        rig.PushAndRun();
        Assert.Equal(4, rig.Responses().Count(response => response.Status == Blkif.RspOkay));
        Assert.Equal(0, rig.Witness.CopyCalls);
    }

    /// <summary>
    /// A DISCARD has no nr_segments on the ring. What its slot's last request had there must not count against the
    /// segments that a pass takes.
    /// </summary>
    [Theory, EveryAbi]
    public void A_pass_takes_a_ring_of_discards_whatever_their_slots_were_used_for_before(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Disk.Synchronous();
        for (int i = 0; i < rig.Frontend.EntryCount; i++)
            rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(Blkif.MaxSegmentsPerRequest)));
        rig.PushAndRun();
        Assert.Equal(rig.Frontend.EntryCount, rig.Responses().Count);

        for (int i = 0; i < rig.Frontend.EntryCount; i++)
            rig.Put(rig.Discard(0, 8));
        rig.Frontend.Push();
        Assert.Equal(PassResult.Idle, rig.Queue.RunPass());
        Assert.Equal(rig.Frontend.EntryCount, rig.Responses().Count(response => response.Status == Blkif.RspOkay));
    }

    [Theory, EveryAbi]
    [Proves("B16")]
    public void A_whole_ring_of_requests_goes_to_the_kernel_with_few_system_calls(BlkifProtocol protocol)
    {
        const int Rounds = 50;
        using TempImage image = new(4096);
        using Reactor reactor = new();
        // From the page cache, reads end as they are submitted: how many system calls they take is then up to us alone.
        using Device device = new(reactor, protocol, image.Open(writable: true, CacheMode.Writeback));
        Assert.True(reactor.UsesIoUring, reactor.Describe());

        ulong entersBefore = reactor.EnterCount;
        int number = 0;
        for (int round = 0; round < Rounds; round++)
        {
            for (int i = 0; i < 32; i++)
                device.Frontend.Put(
                    Requests.Of(device.Frontend, number++, Blkif.OpRead, (ulong)i * 8, Requests.Pages(1))
                );
            device.Frontend.Push();
            Assert.All(
                Wait.ForResponses(device.Frontend, 32),
                response => Assert.Equal(Blkif.RspOkay, response.Status)
            );
        }
        // A turn is one io_uring_enter; a round takes a handful of turns: woken, submitted, answered. Never one a
        // request.
        ulong enters = reactor.EnterCount - entersBefore;
        Assert.InRange(enters, 1UL, (ulong)(Rounds * 8));
        Assert.Equal(Rounds * 32, device.Queue.Statistics.Read.Operations);
    }
}
