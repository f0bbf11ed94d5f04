using Blkring.Abi;
using Blkring.Engine.Queues;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests.Queues;

/// <summary>
/// A kill between two stores, where no neighbour is asked and so no step of <see cref="Mortality"/> lies: what the
/// stores before it have left is put into the journal and the ring, and the next daemon answers each request once.
/// </summary>
public sealed unsafe class KillWindowTests : IDisposable
{
    private readonly TempImage _folder = new(8);

    public void Dispose() => _folder.Dispose();

    private string JournalPath => _folder.PathOf("journal");

    /// <summary>The request is in the record, which does not say so yet: it is taken from the ring again.</summary>
    [Theory, EveryAbi]
    [Proves("B19", "F20")]
    public void Between_the_copy_of_a_request_and_the_mark_that_it_is_taken(BlkifProtocol protocol)
    {
        using Rig rig = NewRig(protocol);
        ulong[] ids = Post(rig, 3);
        Edit(
            (_, records, count) =>
            {
                uint newest = Newest(records, count);
                records[newest].State = Journal.RecordFree;
                // The record was used before, for an INDIRECT request.
                records[newest].IsIndirect = 1;
            }
        );
        AssertAnswersOnce(rig, ids);
    }

    /// <summary>
    /// The response lies in the ring, over a request, and is not pushed; the record says that there is none.
    /// </summary>
    [Theory, EveryAbi]
    [Proves("B19", "F20")]
    public void Between_a_response_and_the_mark_that_it_is_answered(BlkifProtocol protocol)
    {
        using Rig rig = NewRig(protocol);
        ulong[] ids = Post(rig, 3);
        uint place = rig.Frontend.Header.RspProd % (uint)rig.Frontend.EntryCount;
        int entryBytes = protocol == BlkifProtocol.X86_32 ? 108 : 112;
        new Span<byte>(rig.Frontend.Sring + 64 + (place * entryBytes), 16).Fill(0xee);
        AssertAnswersOnce(rig, ids);
    }

    /// <summary>The frontend has seen more responses than the journal knows of.</summary>
    [Theory, EveryAbi]
    [Proves("B19", "F20")]
    public void Between_the_push_of_responses_and_the_note_of_it(BlkifProtocol protocol)
    {
        using Rig rig = NewRig(protocol);
        ulong[] answered = Post(rig, 3);
        rig.FinishDisk();
        Assert.Equal(answered, rig.Responses().Select(response => response.Id).Order());
        ulong[] ids = Post(rig, 2);
        Edit((head, _, _) => head->RspProd -= 3);
        AssertAnswersOnce(rig, ids);
    }

    [Theory, EveryAbi]
    [Proves("B19", "F20")]
    public void Between_the_push_of_the_last_responses_and_the_note_of_it(BlkifProtocol protocol)
    {
        using Rig rig = NewRig(protocol);
        ulong[] answered = Post(rig, 3);
        rig.FinishDisk();
        Assert.Equal(answered, rig.Responses().Select(response => response.Id).Order());
        Edit(
            (head, _, _) =>
            {
                head->RspProd -= 3;
                Assert.Equal(1u, head->InUse);
            }
        );
        AssertAnswersOnce(rig, []);
        AssertServes(rig);
    }

    /// <summary>The request that a daemon worked on when it was killed is like any other.</summary>
    [Theory, EveryAbi]
    public void In_the_middle_of_a_request(BlkifProtocol protocol)
    {
        using Rig rig = NewRig(protocol);
        ulong[] ids = Post(rig, 3);
        Edit((head, records, count) => head->WorkingOn = Newest(records, count) + 1);
        AssertAnswersOnce(rig, ids);
    }

    private Rig NewRig(BlkifProtocol protocol) => new(protocol, new RigOptions { JournalPath = JournalPath });

    /// <summary>Posts reads that the disk has not done when this returns.</summary>
    private static ulong[] Post(Rig rig, int count)
    {
        List<ulong> ids = [];
        for (int i = 0; i < count; i++)
        {
            Blkif.DecodedRequest request = rig.Request(Blkif.OpRead, (ulong)i * 8, Requests.Pages(1));
            rig.Put(in request);
            ids.Add(request.Id);
        }
        rig.PushAndRun();
        return [.. ids.Order()];
    }

    private static void AssertAnswersOnce(Rig rig, ulong[] ids)
    {
        rig.NextDaemon(new ScriptedDisk(4096, content: rig.Disk.Content));
        rig.Run();
        rig.FinishDisk();
        Assert.Equal(
            ids,
            rig.Responses()
                .Select(response =>
                {
                    Assert.Equal(Blkif.RspOkay, (int)response.Status);
                    return response.Id;
                })
                .Order()
        );
        Assert.Equal(0, rig.Queue.InFlight);
        AssertServes(rig);
    }

    private static void AssertServes(Rig rig)
    {
        ulong[] ids = Post(rig, 2);
        rig.FinishDisk();
        Assert.Equal(ids, rig.Responses().Select(response => response.Id).Order());
    }

    private static uint Newest(Journal.Record* records, uint count)
    {
        uint newest = count;
        for (uint i = 0; i < count; i++)
            if (
                records[i].State == Journal.RecordTaken
                && (newest == count || (int)(records[i].RequestIndex - records[newest].RequestIndex) > 0)
            )
                newest = i;
        Assert.True(newest < count);
        return newest;
    }

    private delegate void Change(Journal.Header* head, Journal.Record* records, uint count);

    /// <summary>Changes the file in its place: the daemon has it mapped.</summary>
    private void Edit(Change change)
    {
        byte[] content = File.ReadAllBytes(JournalPath);
        fixed (byte* start = content)
        {
            Journal.Header* head = (Journal.Header*)start;
            change(head, (Journal.Record*)(start + Journal.HeaderBytes), head->RecordCount);
        }
        using FileStream file = new(JournalPath, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        file.Write(content);
    }
}
