using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests.Queues;

/// <summary>B3: the producer index is read once, and a request is looked at once.</summary>
public sealed unsafe class ConsumeTests
{
    [Theory, EveryAbi]
    [Proves("B3")]
    public void A_request_changed_after_it_was_taken_is_served_as_it_was(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        Random.Shared.NextBytes(rig.Disk.Content);
        Blkif.DecodedRequest write = rig.Request(Blkif.OpWrite, 80, (1, 4), (0, 7));
        Blkif.DecodedRequest read = rig.Request(Blkif.OpRead, 160, (2, 5), (7, 7));
        rig.FillGuest(in write);
        rig.FillGuest(in read);
        rig.Put(in write);
        rig.Put(in read);
        rig.PushAndRun();

        // Both are under way. Now the guest turns them into something that would never have been accepted.
        int entryBytes = EntryBytes(rig);
        for (uint entry = 0; entry < 2; entry++)
            new Span<byte>(rig.Frontend.EntryAt(entry), entryBytes).Fill(0xff);
        rig.FinishDisk();

        List<Blkif.DecodedResponse> responses = rig.Responses();
        Assert.Equal([write.Id, read.Id], responses.Select(response => response.Id).Order());
        Assert.All(responses, response => Assert.Equal(Blkif.RspOkay, response.Status));
        Assert.Equal(rig.GuestBytes(in write), rig.Disk.Sectors(80, 12));
        Assert.Equal(rig.Disk.Sectors(160, 5), rig.GuestBytes(in read));
    }

    [Theory, EveryAbi]
    [Proves("B3")]
    public void A_pass_takes_what_was_posted_when_it_looked_and_no_more(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        Blkif.DecodedRequest late = rig.Request(Blkif.OpRead, 8, Requests.Pages(1));
        rig.Disk.OnStart = operation =>
        {
            if (operation.Number == 0)
            {
                rig.Put(in late);
                rig.Frontend.Push();
            }
            return rig.Disk.Perform(operation);
        };
        rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        rig.Frontend.Push();
        Assert.Equal(PassResult.More, rig.Queue.RunPass());
        Assert.Single(rig.Disk.Started);
        Assert.Equal(PassResult.Idle, rig.Queue.RunPass());
        Assert.Equal(2, rig.Disk.Started.Length);
    }

    [Theory, EveryAbi]
    [Proves("B3")]
    public void A_request_counts_as_taken_before_it_is_processed(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        List<int> inFlight = [];
        rig.Disk.OnStart = operation =>
        {
            inFlight.Add(rig.Queue.InFlight);
            return IDiskIo.Pending;
        };
        for (int i = 0; i < 3; i++)
            rig.Put(rig.Request(Blkif.OpRead, 0, Requests.Pages(1)));
        rig.PushAndRun();
        Assert.Equal([1, 2, 3], inFlight);
    }

    private static int EntryBytes(Rig rig) => (int)(rig.Frontend.EntryAt(1) - rig.Frontend.EntryAt(0));
}
