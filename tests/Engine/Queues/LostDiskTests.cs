using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Tests.Kit;
using Blkring.Interop;

namespace Blkring.Engine.Tests.Queues;

/// <summary>What a disk that is full or gone refuses is kept, and replayed by the next queue of the ring.</summary>
public sealed class LostDiskTests
{
    private static readonly int[] s_losses = [Errno.ENOSPC, Errno.EDQUOT, Errno.ENODEV, Errno.ENXIO, Errno.ESTALE];

    [Theory, EveryAbi(GrantMode.Copy, GrantMode.Map, GrantMode.Persistent)]
    public void A_lost_disk_answers_nothing_and_the_next_daemon_does_all_of_it(BlkifProtocol protocol, GrantMode mode)
    {
        foreach (int errno in s_losses)
        {
            using TempImage folder = new(8);
            using Rig rig = new(
                protocol,
                new RigOptions
                {
                    JournalPath = folder.PathOf("journal"),
                    GrantMode = mode,
                    KeepsLostRequests = true,
                }
            );
            Blkif.DecodedRequest write = rig.Request(Blkif.OpWrite, 8, Requests.Pages(2)),
                read = rig.Request(Blkif.OpRead, 64, Requests.Pages(1)),
                discard = rig.Discard(128, 8),
                fine = rig.Request(Blkif.OpRead, 0, Requests.Pages(1));
            rig.FillGuest(in write);
            rig.Disk.OnStart = operation => operation.OffsetBytes == 0 ? operation.LengthBytes : -errno;
            rig.Put(in fine);
            rig.Put(in write);
            rig.Put(in read);
            rig.Put(in discard);
            rig.PushAndRun();
            Assert.Equal(fine.Id, Assert.Single(rig.Responses()).Id);
            Assert.Equal((errno, 3, true), (rig.Queue.LostErrno, rig.Queue.InFlight, rig.Queue.IsQuiet));
            Assert.False(rig.Queue.Faults.TryRead(out _));
            // Nothing more is taken: it would only be refused too.
            Blkif.DecodedRequest later = rig.Request(Blkif.OpRead, 0, Requests.Pages(1));
            rig.Put(in later);
            rig.PushAndRun();
            Assert.Equal(3, rig.Queue.InFlight);

            rig.NextDaemon(new ScriptedDisk(4096, content: rig.Disk.Content));
            rig.Run();
            rig.FinishDisk();
            Assert.Equal(
                ((ulong[])[write.Id, read.Id, discard.Id, later.Id]).Order(),
                rig.Responses().Where(response => response.Status == Blkif.RspOkay).Select(one => one.Id).Order()
            );
            Assert.Equal(rig.GuestBytes(in write), rig.Disk.Sectors(8, 16));
        }
    }

    [Fact]
    public void Who_does_not_wait_any_more_gets_errors_then_and_later()
    {
        using TempImage folder = new(8);
        using Rig rig = new(
            BlkifProtocol.X86_64,
            new RigOptions { JournalPath = folder.PathOf("journal"), KeepsLostRequests = true }
        );
        rig.Disk.OnStart = _ => -Errno.ENOSPC;
        rig.Put(rig.Request(Blkif.OpWrite, 8, Requests.Pages(1)));
        rig.PushAndRun();
        Assert.False(rig.Queue.HasRequests);
        rig.Queue.FailLost();
        rig.Run();
        rig.Put(rig.Request(Blkif.OpWrite, 16, Requests.Pages(1)));
        rig.PushAndRun();
        Assert.Equal([Blkif.RspError, Blkif.RspError], rig.Responses().Select(response => (int)response.Status));
        Assert.Equal((0, 0), (rig.Queue.LostErrno, rig.Queue.InFlight));
    }

    [Theory]
    [InlineData(true, false, Errno.ENOSPC)]
    [InlineData(false, true, Errno.ENOSPC)]
    [InlineData(true, true, Errno.EIO)]
    public void Without_a_journal_or_where_nobody_asked_or_for_another_error_the_guest_is_told(
        bool journal,
        bool keeps,
        int errno
    )
    {
        using TempImage folder = new(8);
        using Rig rig = new(
            BlkifProtocol.X86_64,
            new RigOptions { JournalPath = journal ? folder.PathOf("journal") : null, KeepsLostRequests = keeps }
        );
        rig.Disk.OnStart = _ => -errno;
        rig.Put(rig.Request(Blkif.OpWrite, 8, Requests.Pages(1)));
        rig.PushAndRun();
        Assert.Equal(Blkif.RspError, Assert.Single(rig.Responses()).Status);
    }

    /// <summary>A write of half a block holds the block, and a barrier waits for the requests before it.</summary>
    [Fact]
    public void What_waits_for_a_kept_request_does_not_keep_the_queue_from_leaving_and_frees_the_blocks()
    {
        using TempImage folder = new(8);
        ScriptedDisk disk = new(4096, alignmentBytes: 4096);
        using Rig rig = new(
            BlkifProtocol.X86_64,
            new RigOptions
            {
                JournalPath = folder.PathOf("journal"),
                KeepsLostRequests = true,
                AlignmentBytes = 4096,
                Disk = disk,
            }
        );
        disk.OnStart = _ => -Errno.ENODEV;
        rig.Put(rig.Request(Blkif.OpWrite, 1, (0, 0)));
        rig.Put(rig.Request(Blkif.OpWrite, 2, (0, 0)));
        rig.Put(rig.Request(Blkif.OpWriteBarrier, 3, (0, 0)));
        rig.PushAndRun();
        Assert.Equal((3, true), (rig.Queue.InFlight, rig.Queue.IsQuiet));
        rig.NextDaemon(new ScriptedDisk(4096, alignmentBytes: 4096, content: disk.Content));
        rig.Run();
        rig.FinishDisk();
        Assert.Equal(3, rig.Responses().Count(response => response.Status == Blkif.RspOkay));
        // The disk before has another queue, perhaps.
        Assert.NotEqual(BlockRanges.None, disk.Ranges!.TryTake(0, 4096, exclusive: true));
    }
}
