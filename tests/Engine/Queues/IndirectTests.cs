using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Tests.Kit;
using Blkring.Engine.Vbds;
using Blkring.Interop;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Queues;

/// <summary>
/// INDIRECT: lists of segments in pages of their own, copied once, checked, and served with one disk operation.
/// </summary>
public sealed unsafe class IndirectTests
{
    private static readonly RigOptions s_offered = new() { MaxIndirectSegments = 256, Sectors = 1 << 14 };

    [Theory, EveryAbi(1, 11, 12, 255, 256)]
    [Proves("B5", "F4")]
    public void A_request_of_any_length_is_one_disk_operation_each_way(BlkifProtocol protocol, int segments)
    {
        using Rig rig = new(protocol, s_offered);
        Blkif.DecodedRequest write = rig.Indirect(Blkif.OpWrite, 100, Requests.Pages(segments));
        rig.FillGuest(in write);
        byte[] written = rig.GuestBytes(in write);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(in write));
        Assert.Equal(written, rig.Disk.Sectors(100, segments * 8));

        Blkif.DecodedRequest read = rig.Indirect(Blkif.OpRead, 100, Requests.Pages(segments));
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(in read));
        Assert.Equal(written, rig.GuestBytes(in read));
        Assert.Equal(
            [(DiskOperationKind.Write, segments * 4096), (DiskOperationKind.Read, segments * 4096)],
            rig.Disk.Started.Select(operation => (operation.Kind, operation.LengthBytes))
        );
        Assert.Equal((segments * 4096L, segments * 4096L), (rig.Statistics.Write.Bytes, rig.Statistics.Read.Bytes));
    }

    [Theory, EveryAbi]
    [Proves("B7", "F4")]
    public void Four_thousand_and_ninety_six_segments_take_eight_pages_of_list(BlkifProtocol protocol)
    {
        using Rig rig = new(
            protocol,
            new RigOptions
            {
                MaxIndirectSegments = 4096,
                MaxInFlight = 2,
                Sectors = 1 << 16,
            }
        );
        // Half a page each, so that the disk of the test need not be larger.
        (int, int)[] segments = [.. Enumerable.Repeat((2, 5), 4096)];
        Blkif.DecodedRequest write = rig.Indirect(Blkif.OpWrite, 0, segments);
        rig.FillGuest(in write);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(in write));
        Assert.Equal(rig.GuestBytes(in write), rig.Disk.Sectors(0, 4096 * 4));
        Assert.Equal((2, 8 + 4096), (rig.Witness.CopyCalls, rig.Witness.CopySegments));
        Assert.Single(rig.Disk.Started);
    }

    [Theory, EveryAbi]
    public void Parts_of_pages_land_in_order_and_nothing_beside_them_changes(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, s_offered);
        new Random(9).NextBytes(rig.Disk.Content);
        (int, int)[] segments = [(3, 4), (0, 7), (7, 7), (0, 0), (1, 6), .. Requests.Pages(20), (5, 5)];
        int sectors = 2 + 8 + 1 + 1 + 6 + 160 + 1;
        Blkif.DecodedRequest read = rig.Indirect(Blkif.OpRead, 77, segments);
        rig.FillGuest(in read);
        byte before = *rig.Frontend.BufferOf(rig.NumberOf(in read), 0);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(in read));
        Assert.Equal(rig.Disk.Sectors(77, sectors), rig.GuestBytes(in read));
        Assert.Equal(before, *rig.Frontend.BufferOf(rig.NumberOf(in read), 0));
    }

    [Theory, EveryAbi(Blkif.OpRead, Blkif.OpWrite)]
    [Proves("B7", "F4")]
    public void What_can_never_be_served_is_an_error_and_touches_nothing(BlkifProtocol protocol, int operation)
    {
        using Rig rig = new(protocol, s_offered);
        int bad = 0;
        void Refused(Blkif.DecodedRequest request, int copies)
        {
            int before = rig.Witness.CopyCalls;
            Assert.Equal(Blkif.RspError, rig.StatusOf(in request));
            Assert.Equal(copies, rig.Witness.CopyCalls - before);
            bad++;
        }
        Refused(rig.Indirect(operation, 0), copies: 0);
        foreach (ushort count in (ushort[])[257, 4096, 4097, 32768, 65535])
        {
            Blkif.DecodedRequest request = rig.Indirect(operation, 0, Requests.Pages(1));
            request.NrSegments = count;
            Refused(request, copies: 0);
        }
        Refused(rig.Indirect(operation, 0, [.. Requests.Pages(30), (3, 2)]), copies: 1);
        Refused(rig.Indirect(operation, 0, [(0, 8), .. Requests.Pages(30)]), copies: 1);
        Refused(rig.Indirect(operation, 0, [.. Requests.Pages(30), (255, 255), (0, 7)]), copies: 1);
        Refused(rig.Indirect(operation, (1 << 14) - 79, Requests.Pages(10)), copies: 1);
        Refused(rig.Indirect(operation, ulong.MaxValue, Requests.Pages(1)), copies: 1);
        Refused(rig.Indirect(operation, 1UL << 55, Requests.Pages(256)), copies: 1);
        Assert.Empty(rig.Disk.Started);
        Assert.Equal(bad, operation == Blkif.OpRead ? rig.Statistics.Read.Invalid : rig.Statistics.Write.Invalid);
        // All pages have come back: the longest request succeeds, several times over.
        rig.Disk.Synchronous();
        for (int i = 0; i < 40; i++)
            Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Indirect(operation, 0, Requests.Pages(256))));
    }

    [Theory, EveryAbi]
    [Proves("B5")]
    public void An_indirect_operation_that_is_neither_read_nor_write_is_an_error(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, s_offered);
        for (int operation = 2; operation <= byte.MaxValue; operation++)
            Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Indirect(operation, 0, Requests.Pages(1))));
        Assert.Empty(rig.Disk.Started);
        Assert.Equal(0, rig.Witness.CopyCalls);
        Assert.Equal(254, rig.Statistics.Other.Invalid);
    }

    [Theory, EveryAbi]
    public void A_read_only_disk_reads_and_refuses_to_write(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, s_offered with { ReadOnly = true });
        Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Indirect(Blkif.OpWrite, 0, Requests.Pages(20))));
        Assert.Equal(0, rig.Witness.CopyCalls);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Indirect(Blkif.OpRead, 0, Requests.Pages(20))));
    }

    [Theory, EveryAbi(Blkif.OpRead, Blkif.OpWrite)]
    public void A_bad_grant_of_the_list_or_of_a_segment_is_an_error_for_its_request_alone(
        BlkifProtocol protocol,
        int operation
    )
    {
        using Rig rig = new(protocol, s_offered);
        rig.Disk.Synchronous();
        Blkif.DecodedRequest badList = rig.Indirect(operation, 0, Requests.Pages(20));
        badList.IndirectGrefs[0] = (uint)rig.Domain.Memory.Grants;
        Blkif.DecodedRequest badSegment = rig.Indirect(operation, 0, Requests.Pages(20));
        rig.Frontend.SegmentListOf(rig.NumberOf(in badSegment))[19].Gref = 0;
        Blkif.DecodedRequest good = rig.Indirect(operation, 0, Requests.Pages(20));
        foreach (Blkif.DecodedRequest request in (Blkif.DecodedRequest[])[badList, badSegment, good])
            rig.Put(in request);
        rig.PushAndRun();
        Assert.Equal(2, rig.Witness.CopyCalls);
        Assert.Equal(
            [(badList.Id, Blkif.RspError), (badSegment.Id, Blkif.RspError), (good.Id, Blkif.RspOkay)],
            rig.Responses().Select(response => (response.Id, (int)response.Status)).Order()
        );
        Assert.Equal(
            [GrantTable.GntstGeneralError, GrantTable.GntstBadGntref],
            rig.Faults().Select(fault => fault.Code).OrderDescending()
        );
    }

    [Theory, EveryAbi]
    [Proves("B5", "F4")]
    public void A_list_that_changes_after_it_was_copied_changes_nothing(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, s_offered);
        Blkif.DecodedRequest write = rig.Indirect(Blkif.OpWrite, 8, Requests.Pages(100));
        rig.FillGuest(in write);
        byte[] written = rig.GuestBytes(in write);
        int number = rig.NumberOf(in write),
            calls = 0;
        rig.Witness.BeforeCopy = _ =>
        {
            // Between the copy of the list and that of the segments.
            if (++calls != 2)
                return;
            for (int i = 0; i < 100; i++)
                rig.Frontend.SegmentListOf(number)[i] = new Blkif.RequestSegment
                {
                    Gref = 0,
                    FirstSect = 9,
                    LastSect = 3,
                };
        };
        rig.Put(in write);
        rig.PushAndRun();
        rig.FinishDisk();
        Assert.Equal(Blkif.RspOkay, Assert.Single(rig.Responses()).Status);
        Assert.Equal(written, rig.Disk.Sectors(8, 800));
    }

    [Theory, EveryAbi]
    [Proves("B5")]
    public void A_pass_makes_one_grant_copy_for_all_lists_and_one_for_all_data(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, s_offered);
        for (int i = 0; i < 5; i++)
        {
            rig.Put(rig.Indirect(Blkif.OpWrite, (ulong)(i * 80), Requests.Pages(10)));
            rig.Put(rig.Request(Blkif.OpWrite, (ulong)(800 + (i * 8)), Requests.Pages(1)));
        }
        rig.PushAndRun();
        Assert.Equal((2, 5 + 50 + 5), (rig.Witness.CopyCalls, rig.Witness.CopySegments));
        Assert.Equal((2, 60), (rig.Statistics.GrantCopyCalls, rig.Statistics.GrantCopySegments));
        rig.FinishDisk();
        Assert.Equal((10, 1), (rig.Responses().Count, rig.Statistics.Pushes));
    }

    [Theory, EveryAbi]
    [Proves("B5")]
    public void Without_room_for_its_data_a_request_waits_in_order_and_nothing_is_dropped(BlkifProtocol protocol)
    {
        // Room for one of the longest, or for several shorter ones.
        using Rig rig = new(protocol, s_offered with { IndirectMemoryBytes = 0 });
        List<ulong> posted = [];
        foreach (int segments in (int[])[200, 100, 20, 256, 1, 128, 127, 30])
        {
            Blkif.DecodedRequest request = rig.Indirect(Blkif.OpRead, (ulong)posted.Count, Requests.Pages(segments));
            posted.Add(request.Id);
            rig.Put(in request);
        }
        Blkif.DecodedRequest direct = rig.Request(Blkif.OpRead, 99, Requests.Pages(1));
        rig.Put(in direct);
        rig.PushAndRun();
        // The direct request needs no pages and passes. Of the others only the first gets pages, and the third must
        // not overtake the second.
        Assert.Equal([0, 99 * 512], rig.Disk.UnderWay.Select(operation => operation.OffsetBytes).Order());
        Assert.Equal(9, rig.Queue.InFlight);
        List<ulong> answered = [];
        while (rig.Disk.UnderWay is [ScriptedOperation first, ..])
        {
            rig.Disk.Complete(first);
            rig.Run();
            answered.AddRange(rig.Responses().ConvertAll(response => response.Id));
        }
        Assert.True(answered.Remove(direct.Id));
        Assert.Equal(posted, answered);
        Assert.Equal(
            posted.Select((_, i) => (long)i * 512),
            rig.Disk.Started.Select(operation => operation.OffsetBytes).Where(offset => offset != 99 * 512)
        );
    }

    [Theory, EveryAbi]
    [Proves("B5")]
    public void Waiting_requests_are_served_when_the_queue_is_drained_and_when_a_barrier_comes_behind_them(
        BlkifProtocol protocol
    )
    {
        using Rig rig = new(protocol, s_offered with { IndirectMemoryBytes = 0 });
        for (int i = 0; i < 4; i++)
            rig.Put(rig.Indirect(Blkif.OpWrite, (ulong)i * 2048, Requests.Pages(256)));
        rig.Put(rig.Request(Blkif.OpWriteBarrier, 0));
        rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        rig.PushAndRun();
        rig.Queue.DetachRing();
        rig.FinishDisk();
        Assert.Equal(5, rig.Responses().Count(response => response.Status == Blkif.RspOkay));
        Assert.Equal(0, rig.Queue.InFlight);
        Assert.Equal(DiskOperationKind.Flush, rig.Disk.Started[^1].Kind);
        rig.Queue.AttachRing();
        rig.Run();
        rig.FinishDisk();
        Assert.Single(rig.Responses());
    }

    [Theory, EveryAbi]
    public void A_short_transfer_is_continued(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, s_offered);
        new Random(1).NextBytes(rig.Disk.Content);
        rig.Disk.OnStart = operation => rig.Disk.Perform(operation, Math.Min(operation.LengthBytes, 100 * 512));
        Blkif.DecodedRequest read = rig.Indirect(Blkif.OpRead, 40, Requests.Pages(256));
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(in read));
        Assert.Equal(rig.Disk.Sectors(40, 2048), rig.GuestBytes(in read));
        Assert.Equal(21, rig.Disk.Started.Length);
    }

    [Theory, EveryAbi]
    public void A_disk_error_is_an_error_and_gives_the_room_back(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, s_offered with { IndirectMemoryBytes = 0 });
        rig.Disk.OnStart = _ => -Errno.EIO;
        for (int i = 0; i < 3; i++)
            Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Indirect(Blkif.OpWrite, 0, Requests.Pages(256))));
        Assert.Equal(3, rig.Statistics.Write.Failed);
    }

    [Theory, EveryAbi(true, false)]
    public void A_file_holds_what_was_written_with_long_requests(BlkifProtocol protocol, bool ioUring)
    {
        using TempImage image = new(16384);
        using Reactor reactor = new(new ReactorOptions { UseIoUring = ioUring });
        using Device device = new(
            reactor,
            protocol,
            image.Open(),
            segments: 64,
            options: new VbdOptions { IndirectMemoryBytes = 1 << 20 }
        );
        WorkloadResult result = device.Work(TimeSpan.FromMilliseconds(200), depth: 32, 16384, seed: 5);
        Assert.True(result.IsRight, result.FirstProblem);
        Assert.True(result.Indirect > 0);
    }
}
