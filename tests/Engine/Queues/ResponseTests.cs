using Blkring.Abi;
using Blkring.Engine.Queues;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests.Queues;

/// <summary>
/// B14 and B15: what a response writes, when the frontend is notified, and the final check before sleep.
/// </summary>
public sealed unsafe class ResponseTests
{
    private const int StatusOffset = 10;

    [Theory, EveryAbi]
    [Proves("B14")]
    public void A_response_writes_its_three_fields_and_no_byte_beside_them(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        int entryBytes = (int)(rig.Frontend.EntryAt(1) - rig.Frontend.EntryAt(0));
        for (uint entry = 0; entry < 32; entry++)
            new Span<byte>(rig.Frontend.EntryAt(entry), entryBytes).Fill(0xA5);
        rig.Disk.OnStart = operation => operation.OffsetBytes == 0 ? -Interop.Errno.EIO : rig.Disk.Perform(operation);

        (Blkif.DecodedRequest Request, short Status)[] posted =
        [
            (rig.Request(Blkif.OpRead, 8, Requests.Pages(1)), Blkif.RspOkay),
            (rig.Request(Blkif.OpWrite, 8, Requests.Pages(11)), Blkif.RspOkay),
            (rig.Request(Blkif.OpRead, 0, Requests.Pages(1)), Blkif.RspError),
            (rig.Request(Blkif.OpIndirect, 0), Blkif.RspEopnotsupp),
            (rig.Discard(8, 8), Blkif.RspOkay),
        ];
        foreach ((Blkif.DecodedRequest request, _) in posted)
            rig.Put(in request);
        byte[] header = Bytes(rig.Frontend.Sring + 16, 48);
        byte[][] before =
        [
            .. Enumerable.Range(0, 32).Select(entry => Bytes(rig.Frontend.EntryAt((uint)entry), entryBytes)),
        ];
        rig.PushAndRun();

        // In the order in which they are answered: the write's grants are copied first.
        Dictionary<ulong, short> expected = posted.ToDictionary(pair => pair.Request.Id, pair => pair.Status);
        for (int entry = 0; entry < 32; entry++)
        {
            byte[] after = Bytes(rig.Frontend.EntryAt((uint)entry), entryBytes);
            if (entry < posted.Length)
            {
                ulong id = BitConverter.ToUInt64(after, 0);
                Assert.True(expected.Remove(id, out short status), $"entry {entry} answers {id:x}");
                Assert.Equal(posted.Single(pair => pair.Request.Id == id).Request.Operation, after[8]);
                Assert.Equal(status, BitConverter.ToInt16(after, StatusOffset));
                before[entry].AsSpan(0, 9).CopyTo(after);
                before[entry].AsSpan(StatusOffset, 2).CopyTo(after.AsSpan(StatusOffset));
            }
            Assert.Equal(before[entry], after);
        }
        Assert.Equal(header, Bytes(rig.Frontend.Sring + 16, 48));
    }

    [Theory, EveryAbi]
    [Proves("B14")]
    public void The_frontend_is_notified_only_when_its_rsp_event_asks_for_it(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Disk.Synchronous();
        ref uint wanted = ref rig.Frontend.Header.RspEvent;
        void Serve(int requests)
        {
            for (int i = 0; i < requests; i++)
                rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
            rig.PushAndRun();
            rig.Responses();
        }

        Serve(1);
        Assert.Equal(1, rig.Witness.Notifications);
        // rsp_event still says 1, which is past: a frontend that is awake wants no event.
        Serve(1);
        Serve(5);
        Assert.Equal(1, rig.Witness.Notifications);
        // The frontend asks for the tenth response: the eighth and ninth notify nobody, a batch past it does.
        wanted = 10;
        Serve(1);
        Serve(1);
        Assert.Equal(1, rig.Witness.Notifications);
        Serve(4);
        Assert.Equal(2, rig.Witness.Notifications);
        wanted = 14;
        Serve(1);
        Assert.Equal(3, rig.Witness.Notifications);
        Assert.Equal(3, rig.Statistics.Notifications);
    }

    [Theory, EveryAbi]
    [Proves("B15")]
    public void With_all_answered_the_final_check_asks_for_an_event_at_the_next_request(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Disk.Synchronous();
        for (int i = 0; i < 5; i++)
        {
            rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
            Assert.True(rig.Frontend.Push(), "the backend sleeps and has not asked for an event");
            Assert.Equal(PassResult.Idle, rig.Run());
            Assert.False(rig.Queue.FinalCheckForRequests());
            Assert.Equal((uint)i + 2, rig.Frontend.Header.ReqEvent);
            rig.Responses();
        }
    }

    [Theory, EveryAbi]
    [Proves("B15")]
    public void A_request_posted_while_another_is_under_way_is_noticed(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        rig.PushAndRun();
        Assert.Equal(1u, rig.Frontend.Header.ReqEvent);
        Assert.False(rig.Queue.FinalCheckForRequests());
        Assert.Equal(2u, rig.Frontend.Header.ReqEvent);

        rig.Put(rig.Request(Blkif.OpRead, 8, Requests.Pages(1)));
        Assert.True(rig.Frontend.Push(), "the backend sleeps on a completion and would not hear of the request");
        rig.Run();
        Assert.Equal(2, rig.Disk.UnderWay.Length);
        rig.FinishDisk();
        Assert.Equal(2, rig.Responses().Count);
    }

    [Theory, EveryAbi]
    [Proves("B15")]
    public void A_request_posted_before_the_final_check_is_found_by_it(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        rig.PushAndRun();
        rig.Put(rig.Request(Blkif.OpRead, 8, Requests.Pages(1)));
        // Nobody asked for an event yet, so none is sent: the check must find the request.
        Assert.False(rig.Frontend.Push());
        Assert.True(rig.Queue.FinalCheckForRequests());
        rig.Run();
        Assert.Equal(2, rig.Disk.UnderWay.Length);
    }

    [Theory, EveryAbi]
    [Proves("B15")]
    public void After_a_push_the_ring_is_handled_again_if_it_holds_more(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        rig.Put(rig.Request(Blkif.OpRead, 8, Requests.Pages(1)));
        rig.PushAndRun();
        rig.Disk.Complete(rig.Disk.UnderWay[0]);
        // Posted while one request is in flight and another completes: the turn that answers the one takes the new one.
        rig.Put(rig.Request(Blkif.OpRead, 16, Requests.Pages(1)));
        rig.Frontend.Push();
        rig.Run();
        Assert.Single(rig.Responses());
        Assert.Equal(2, rig.Disk.UnderWay.Length);
        rig.FinishDisk();
        Assert.Equal(2, rig.Responses().Count);
    }

    private static byte[] Bytes(byte* from, int count) => new ReadOnlySpan<byte>(from, count).ToArray();
}
