using System.Diagnostics;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Tests.Kit;
using Blkring.Interop;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Disks;

/// <summary>
/// A disk of 4096-byte sectors and a guest that uses sectors of 512 bytes: the disk sees whole blocks only, and no
/// sector is lost.
/// </summary>
public sealed unsafe class BlockTests
{
    private const int BlockSectors = 8;

    private static readonly RigOptions s_4Kn = new()
    {
        AlignmentBytes = 4096,
        MaxIndirectSegments = 32,
        Sectors = 1 << 12,
    };

    [Theory, EveryAbi]
    [Proves("B7", "F13")]
    public void Every_place_and_length_is_read_and_written_right(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, s_4Kn);
        rig.Disk.Synchronous();
        byte[] expected = new byte[rig.Disk.Content.Length];
        new Random(3).NextBytes(expected);
        expected.CopyTo(rig.Disk.Content, 0);
        Random random = new(4);
        for (int i = 0; i < 300; i++)
        {
            int sector = 64 + random.Next(64);
            int operation =
                random.Next(2) == 0 ? Blkif.OpRead
                : i % 7 == 0 ? Blkif.OpWriteBarrier
                : i % 11 == 0 ? Blkif.OpFlushDiskcache
                : Blkif.OpWrite;
            (int, int)[] segments =
            [
                .. Enumerable.Range(0, 1 + random.Next(11)).Select(_ => random.Next(3) == 0 ? (0, 7) : Run(random)),
            ];
            bool indirect = random.Next(3) == 0 && operation is Blkif.OpRead or Blkif.OpWrite;
            Blkif.DecodedRequest request =
                indirect && operation is Blkif.OpRead or Blkif.OpWrite && random.Next(2) == 0
                    ? rig.Indirect(operation, (ulong)sector, segments)
                    : rig.Request(operation, (ulong)sector, segments);
            if (operation != Blkif.OpRead)
                rig.FillGuest(in request);
            byte[] guest = rig.GuestBytes(in request);
            if (operation != Blkif.OpRead)
                guest.CopyTo(expected, sector * 512);
            Assert.Equal(Blkif.RspOkay, rig.StatusOf(in request));
            if (operation == Blkif.OpRead)
                Assert.Equal(expected.AsSpan(sector * 512, guest.Length).ToArray(), rig.GuestBytes(in request));
            Assert.Equal(expected, rig.Disk.Content);
        }
    }

    private static (int, int) Run(Random random)
    {
        int first = random.Next(8);
        return (first, first + random.Next(8 - first));
    }

    [Theory, EveryAbi]
    [Proves("F17")]
    public void A_request_that_is_refused_for_a_part_of_a_block_is_not_charged_to_the_limit(BlkifProtocol protocol)
    {
        // A single byte that was charged would take a second to earn.
        Throttle throttle = new() { Limits = new ThrottleLimits { BytesPerSecond = 1 } };
        using Rig rig = new(protocol, s_4Kn with { NativeSectors = true, Throttle = throttle });
        foreach (int operation in new[] { Blkif.OpRead, Blkif.OpWrite, Blkif.OpFlushDiskcache, Blkif.OpWriteBarrier })
            Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(operation, 8, (0, 6))));
        foreach (int operation in new[] { Blkif.OpRead, Blkif.OpWrite })
            Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Indirect(operation, 9, Requests.Pages(20))));
        Assert.True(throttle.MayStart(Stopwatch.GetTimestamp()));

        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(Blkif.OpRead, 8, (0, 7))));
        Assert.False(throttle.MayStart(Stopwatch.GetTimestamp()));
    }

    [Theory, EveryAbi]
    public void Whole_blocks_go_straight_and_a_part_reads_the_blocks_at_its_ends(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, s_4Kn);
        int Operations(int operation, ulong sector, params (int, int)[] segments)
        {
            int before = rig.Disk.Started.Length;
            Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(operation, sector, segments)));
            return rig.Disk.Started.Length - before;
        }
        Assert.Equal(1, Operations(Blkif.OpWrite, 8, Requests.Pages(3)));
        Assert.Equal(1, Operations(Blkif.OpRead, 8, Requests.Pages(3)));
        Assert.Equal(1, Operations(Blkif.OpRead, 9, Requests.Pages(3)));
        Assert.Equal(2, Operations(Blkif.OpWrite, 9, (2, 2)));
        Assert.Equal(2, Operations(Blkif.OpWrite, 8, (0, 7), (0, 0)));
        Assert.Equal(2, Operations(Blkif.OpWrite, 12, (0, 3), (0, 7)));
        Assert.Equal(3, Operations(Blkif.OpWrite, 12, (0, 7)));
        Assert.Equal(3, Operations(Blkif.OpWrite, 15, Requests.Pages(11)));
        Assert.Equal((long)(24 + 1 + 9 + 12 + 8 + 88) * 512, rig.Statistics.Write.Bytes);
    }

    [Theory, EveryAbi]
    [Proves("B7")]
    public void Writes_of_parts_of_one_block_follow_each_other_and_others_do_not_wait(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, s_4Kn);
        Blkif.DecodedRequest[] parts =
        [
            .. Enumerable.Range(0, BlockSectors).Select(i => rig.Request(Blkif.OpWrite, (ulong)(16 + i), (i, i))),
        ];
        foreach (ref Blkif.DecodedRequest part in parts.AsSpan())
        {
            rig.FillGuest(in part);
            rig.Put(in part);
        }
        rig.Put(rig.Request(Blkif.OpRead, 16, Requests.Pages(1)));
        rig.PushAndRun();
        Assert.Equal(2, rig.Disk.UnderWay.Length);
        Random random = new(1);
        while (rig.Disk.UnderWay is { Length: > 0 } underWay)
        {
            rig.Disk.Complete(underWay[random.Next(underWay.Length)]);
            rig.Run();
        }
        Assert.Equal(9, rig.Responses().Count(response => response.Status == Blkif.RspOkay));
        for (int i = 0; i < BlockSectors; i++)
            Assert.Equal(rig.GuestBytes(in parts[i]), rig.Disk.Sectors(16 + i, 1));
    }

    [Theory, EveryAbi]
    [Proves("B7", "F13")]
    public void A_write_of_a_whole_block_and_of_a_part_exclude_each_other_also_from_two_queues(BlkifProtocol protocol)
    {
        using Rig one = new(protocol, s_4Kn);
        using Rig other = new(protocol, s_4Kn with { Disk = one.Disk });
        Blkif.DecodedRequest part = one.Request(Blkif.OpWrite, 17, (0, 0)),
            whole = other.Request(Blkif.OpWrite, 16, Requests.Pages(1));
        one.FillGuest(in part);
        other.FillGuest(in whole);
        one.Put(in part);
        one.PushAndRun();
        other.Put(in whole);
        other.Frontend.Push();
        // A queue is not notified when another queue frees the blocks: it tries again.
        Assert.Equal(PassResult.Retry, other.Queue.RunPass());
        Assert.Equal(DiskOperationKind.Read, Assert.Single(one.Disk.UnderWay).Kind);
        one.FinishDisk();
        Assert.Equal(Blkif.RspOkay, Assert.Single(one.Responses()).Status);
        other.Queue.RunPass();
        Assert.Equal(16 * 512, Assert.Single(one.Disk.UnderWay).OffsetBytes);
        one.Disk.CompleteAll();
        other.Queue.RunPass();
        Assert.Single(other.Responses());
        Assert.Equal(other.GuestBytes(in whole), one.Disk.Sectors(16, 8));
    }

    [Theory, EveryAbi(0, 1, 2)]
    public void A_disk_that_fails_at_any_step_lets_the_block_go(BlkifProtocol protocol, int failing)
    {
        using Rig rig = new(protocol, s_4Kn);
        rig.Disk.OnStart = operation => operation.Number == failing ? -Errno.EIO : rig.Disk.Perform(operation);
        Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(Blkif.OpWrite, 12, Requests.Pages(1))));
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(Blkif.OpWrite, 12, Requests.Pages(1))));
    }

    [Theory, EveryAbi]
    public void Short_transfers_are_continued_at_every_step(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, s_4Kn with { AlignmentBytes = 1024 });
        rig.Disk.OnStart = operation => rig.Disk.Perform(operation, Math.Min(operation.LengthBytes, 1024));
        new Random(2).NextBytes(rig.Disk.Content);
        byte[] before = [.. rig.Disk.Content];
        Blkif.DecodedRequest write = rig.Request(Blkif.OpWrite, 13, (0, 7), (0, 2));
        rig.FillGuest(in write);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(in write));
        Assert.Equal([.. before[..(13 * 512)], .. rig.GuestBytes(in write), .. before[(24 * 512)..]], rig.Disk.Content);
    }

    [Theory, EveryAbi]
    public void A_discard_takes_whole_blocks_only(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, s_4Kn);
        Array.Fill(rig.Disk.Content, (byte)1);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Discard(3, 30)));
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Discard(65, 6)));
        ScriptedOperation piece = Assert.Single(rig.Disk.Started);
        Assert.Equal((8 * 512, 24 * 512), (piece.OffsetBytes, piece.LengthBytes));
    }

    [Theory, EveryAbi]
    [Proves("B7", "F14")]
    public void With_native_sectors_what_is_not_whole_blocks_is_an_error(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, s_4Kn with { NativeSectors = true });
        foreach (int operation in Requests.WithSegments)
        {
            Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(operation, 9, Requests.Pages(1))));
            Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Request(operation, 8, (0, 3))));
            Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(operation, 8, Requests.Pages(2))));
        }
        Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Indirect(Blkif.OpWrite, 4, Requests.Pages(20))));
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Indirect(Blkif.OpWrite, 8, Requests.Pages(20))));
    }

    [Fact]
    public void Ranges_exclude_each_other_as_they_should_and_come_back()
    {
        BlockRanges ranges = new();
        int whole = ranges.TryTake(0, 8192, exclusive: false),
            second = ranges.TryTake(4096, 8192, exclusive: false);
        Assert.True(whole != second && whole != BlockRanges.None && second != BlockRanges.None);
        Assert.Equal(BlockRanges.None, ranges.TryTake(4096, 8192, exclusive: true));
        ranges.Return(whole);
        Assert.Equal(BlockRanges.None, ranges.TryTake(4096, 8192, exclusive: true));
        ranges.Return(second);
        int part = ranges.TryTake(4096, 8192, exclusive: true);
        Assert.Equal(BlockRanges.None, ranges.TryTake(0, 8192, exclusive: false));
        Assert.NotEqual(BlockRanges.None, ranges.TryTake(8192, 12288, exclusive: true));
        ranges.Return(part);
        int taken = 0;
        while (ranges.TryTake(1 << 20, 1 << 21, exclusive: false) != BlockRanges.None)
            taken++;
        Assert.InRange(taken, 1000, 1023);
    }

    public static TheoryData<BlkifProtocol, string> EveryStore()
    {
        TheoryData<BlkifProtocol, string> rows = [];
        foreach (BlkifProtocol protocol in Enum.GetValues<BlkifProtocol>())
        foreach (string store in (string[])["memory", "io_uring", "pread"])
            rows.Add(protocol, store);
        return rows;
    }

    [Theory, MemberData(nameof(EveryStore))]
    [Proves("F13")]
    public void What_is_written_by_the_sector_is_read_back(BlkifProtocol protocol, string store)
    {
        using TempImage image = new(4096);
        using Reactor reactor = new(new ReactorOptions { UseIoUring = store != "pread" });
        Disk disk =
            store == "memory"
                ? new MemoryDisk(4096, sectorBytes: 4096)
                : FileDisk.Open(image.Path, new FileDiskOptions { Writable = true, MinAlignmentBytes = 4096 });
        Assert.Equal((4096, 4096), (disk.AlignmentBytes, disk.LogicalSectorBytes));
        using Device device = new(reactor, protocol, disk, segments: 32);
        WorkloadResult result = device.Work(TimeSpan.FromMilliseconds(200), depth: 32, 4096, seed: 6, blockSectors: 1);
        Assert.True(result.IsRight, result.FirstProblem);
    }
}
