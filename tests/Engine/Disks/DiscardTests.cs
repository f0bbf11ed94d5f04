using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Tests.Kit;
using Blkring.Interop;

namespace Blkring.Engine.Tests.Disks;

/// <summary>B12: discards of any length, in pieces that fit the kernel's interface.</summary>
public sealed class DiscardTests
{
    private const long PieceBytes = (1L << 31) - 512;
    private const long HugeSectors = 1L << 40;

    private static readonly RigOptions s_huge = new() { Sectors = HugeSectors };

    [Theory, EveryAbi(512L, PieceBytes - 512, PieceBytes, PieceBytes + 512, (2 * PieceBytes) + 512, 1L << 35)]
    [Proves("B12", "F10")]
    public void A_discard_is_split_into_pieces_of_at_most_2_GiB_less_a_sector(BlkifProtocol protocol, long bytes)
    {
        using Rig rig = new(protocol, s_huge);
        const long Start = 12345;
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Discard(Start, (ulong)(bytes / 512))));

        long next = Start * 512;
        foreach (ScriptedOperation piece in rig.Disk.Started)
        {
            Assert.Equal(DiskOperationKind.Discard, piece.Kind);
            Assert.Equal(next, piece.OffsetBytes);
            Assert.InRange(piece.LengthBytes, 512, PieceBytes);
            Assert.Equal(0, piece.LengthBytes % 512);
            next += piece.LengthBytes;
        }
        Assert.Equal((Start * 512) + bytes, next);
        Assert.Equal((bytes + PieceBytes - 1) / PieceBytes, rig.Disk.Started.Length);
        Assert.Equal((1, bytes), (rig.Statistics.Discard.Operations, rig.Statistics.Discard.Bytes));
    }

    [Theory, EveryAbi]
    [Proves("B12")]
    public void It_is_answered_once_when_the_last_piece_is_done_in_whatever_order(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, s_huge);
        rig.Put(rig.Discard(0, (ulong)(30 * PieceBytes / 512)));
        rig.PushAndRun();
        Random random = new(3);
        int mostUnderWay = 0;
        while (rig.Disk.UnderWay is { Length: > 0 } underWay)
        {
            mostUnderWay = Math.Max(mostUnderWay, underWay.Length);
            Assert.Empty(rig.Responses());
            rig.Disk.Complete(underWay[random.Next(underWay.Length)]);
            rig.Run();
        }
        Assert.Equal(Blkif.RspOkay, Assert.Single(rig.Responses()).Status);
        Assert.Equal(30, rig.Disk.Started.Length);
        // Several at a time, but never so many that one request fills the submission queue.
        Assert.InRange(mostUnderWay, 2, 16);
    }

    [Theory, EveryAbi(0, 1, 2)]
    [Proves("B12")]
    public void An_error_in_one_piece_makes_it_an_error_after_the_last(BlkifProtocol protocol, int failing)
    {
        foreach (bool synchronous in (bool[])[false, true])
        {
            using Rig rig = new(protocol, s_huge);
            if (synchronous)
                rig.Disk.OnStart = operation => operation.Number == failing ? -Errno.EIO : 0;
            rig.Put(rig.Discard(0, (ulong)(3 * PieceBytes / 512)));
            rig.PushAndRun();
            foreach (ScriptedOperation piece in rig.Disk.UnderWay)
            {
                Assert.Empty(rig.Responses());
                rig.Disk.Complete(piece, piece.Number == failing ? -Errno.EIO : 0);
                rig.Run();
            }
            Assert.Equal(Blkif.RspError, Assert.Single(rig.Responses()).Status);
            Assert.Equal((0, 1), (rig.Statistics.Discard.Operations, rig.Statistics.Discard.Failed));
            Assert.Equal(
                (FaultKind.Disk, Errno.EIO),
                (Assert.Single(rig.Faults()) is var fault ? fault.Kind : default, fault.Code)
            );
            Assert.True(rig.Disk.DiscardSupported);
        }
    }

    [Theory, EveryAbi]
    [Proves("B12", "F10")]
    public void A_range_that_wraps_or_leaves_the_disk_is_an_error_and_touches_nothing(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, s_huge);
        (ulong Start, ulong Count)[] bad =
        [
            (2, ulong.MaxValue),
            (ulong.MaxValue, 1),
            (ulong.MaxValue, 2),
            (1UL << 63, 1UL << 63),
            (0, 1UL << 55),
            (1UL << 55, 1),
            (1UL << 54, 8),
            (0, 1UL << 63),
            (HugeSectors, 1),
            (HugeSectors - 1, 2),
            (0, HugeSectors + 1),
            (HugeSectors + 1, 0),
        ];
        foreach ((ulong start, ulong count) in bad)
            Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Discard(start, count)));
        Assert.Empty(rig.Disk.Started);
        Assert.Equal(bad.Length, rig.Statistics.Discard.Invalid);
    }

    [Theory, EveryAbi]
    [Proves("B12")]
    public void Zero_sectors_are_nothing_to_do_and_okay(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol, s_huge);
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Discard(0, 0)));
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Discard(HugeSectors, 0)));
        Assert.Empty(rig.Disk.Started);
    }

    [Theory, EveryAbi]
    [Proves("B12", "F11")]
    public void The_secure_flag_changes_nothing_as_it_is_not_offered(BlkifProtocol protocol)
    {
        using Rig rig = new(protocol);
        Array.Fill(rig.Disk.Content, (byte)1);
        Blkif.DecodedRequest request = rig.Discard(8, 8);
        request.Flag = Blkif.DiscardSecure;
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(in request));
        Assert.Equal(8 * 512, rig.Disk.Content.Count(b => b == 0));
    }

    [Theory, EveryAbi(false, true)]
    [Proves("B12", "F10")]
    public void A_store_that_cannot_discard_turns_it_off_with_eopnotsupp(BlkifProtocol protocol, bool synchronous)
    {
        using Rig rig = new(protocol);
        if (synchronous)
            rig.Disk.OnStart = _ => -Errno.EOPNOTSUPP;
        Assert.True(rig.Disk.DiscardSupported);
        rig.Put(rig.Discard(0, 8));
        rig.PushAndRun();
        if (!synchronous)
            rig.Disk.Complete(Assert.Single(rig.Disk.UnderWay), -Errno.EOPNOTSUPP);
        rig.Run();
        Assert.Equal(Blkif.RspEopnotsupp, Assert.Single(rig.Responses()).Status);
        Assert.False(rig.Disk.DiscardSupported);

        Assert.Equal(Blkif.RspEopnotsupp, rig.StatusOf(rig.Discard(0, 8)));
        Assert.Single(rig.Disk.Started);
        // A range that is wrong is still an error.
        Assert.Equal(Blkif.RspError, rig.StatusOf(rig.Discard(5000, 1)));
        Assert.Equal(3, rig.Statistics.Discard.Invalid);
    }

    [Theory, EveryAbi(Errno.EAGAIN, Errno.EINTR)]
    [Proves("B12")]
    public void A_piece_that_may_be_tried_again_is(BlkifProtocol protocol, int errno)
    {
        using Rig rig = new(protocol, s_huge);
        rig.Disk.OnStart = operation => operation.Number == 1 ? -errno : 0;
        rig.Put(rig.Discard(0, (ulong)(3 * PieceBytes / 512)));
        Assert.Equal(PassResult.Retry, rig.PushAndRun());
        Assert.Empty(rig.Responses());
        rig.Run();
        Assert.Equal(Blkif.RspOkay, Assert.Single(rig.Responses()).Status);
        Assert.Equal(1, rig.Statistics.Retries);
        Assert.Equal(6, rig.Disk.Started.Length);
    }

    [Theory, EveryAbi(false, true)]
    [Proves("B12")]
    public void A_way_of_discarding_that_the_store_refuses_gives_way_to_the_next(
        BlkifProtocol protocol,
        bool synchronous
    )
    {
        foreach (
            DiscardMethod works in (DiscardMethod[])
                [DiscardMethod.PunchHole, DiscardMethod.UringCommand, DiscardMethod.Ioctl]
        )
        {
            ScriptedDisk device = new(4096) { LastMethod = DiscardMethod.Ioctl };
            using Rig rig = new(protocol, new RigOptions { Disk = device });
            if (synchronous)
                device.OnStart = Answer;
            rig.Put(rig.Discard(0, 8));
            rig.PushAndRun();
            while (device.UnderWay is [ScriptedOperation piece])
            {
                Assert.Empty(rig.Responses());
                device.Complete(piece, Answer(piece));
                rig.Run();
            }
            Assert.Equal(Blkif.RspOkay, Assert.Single(rig.Responses()).Status);
            Assert.Equal(
                Enumerable.Range(0, (int)works + 1).Select(method => (DiscardMethod)method),
                device.Started.Select(piece => piece.DiscardMethod)
            );
            Assert.Equal((works, true), (device.DiscardMethod, device.DiscardSupported));
            Assert.Equal(
                (1, 0, 0),
                (rig.Statistics.Discard.Operations, rig.Statistics.Discard.Failed, rig.Statistics.Discard.Invalid)
            );

            // The change is permanent: the next request begins with the method that works.
            rig.Put(rig.Discard(8, 8));
            rig.PushAndRun();
            Assert.Equal(works, device.Started[^1].DiscardMethod);
            Assert.Equal((int)works + 2, device.Started.Length);
            rig.FinishDisk();

            int Answer(ScriptedOperation piece) => piece.DiscardMethod < works ? -Errno.EOPNOTSUPP : 0;
        }
    }

    [Theory, EveryAbi(false, true)]
    [Proves("B12")]
    public void Only_a_store_that_refuses_every_way_turns_it_off(BlkifProtocol protocol, bool synchronous)
    {
        ScriptedDisk device = new(4096) { LastMethod = DiscardMethod.Ioctl };
        using Rig rig = new(protocol, new RigOptions { Disk = device });
        if (synchronous)
            device.OnStart = _ => -Errno.EOPNOTSUPP;
        rig.Put(rig.Discard(0, 8));
        rig.PushAndRun();
        while (device.UnderWay is [ScriptedOperation piece])
        {
            device.Complete(piece, -Errno.EOPNOTSUPP);
            rig.Run();
        }
        Assert.Equal(Blkif.RspEopnotsupp, Assert.Single(rig.Responses()).Status);
        Assert.Equal((DiscardMethod.None, false), (device.DiscardMethod, device.DiscardSupported));
        Assert.Equal(Blkif.RspEopnotsupp, rig.StatusOf(rig.Discard(0, 8)));
        Assert.Equal(3, device.Started.Length);
    }

    [Theory, EveryAbi]
    public void What_a_security_policy_forbids_is_a_refusal_of_commands_alone(BlkifProtocol protocol)
    {
        (DiscardMethod Method, int Errno, bool Refused)[] answers =
        [
            (DiscardMethod.UringCommand, Errno.EACCES, true),
            (DiscardMethod.UringCommand, Errno.EPERM, true),
            (DiscardMethod.Ioctl, Errno.ENOTTY, true),
            (DiscardMethod.PunchHole, Errno.EACCES, false),
            (DiscardMethod.PunchHole, Errno.EPERM, false),
            (DiscardMethod.UringCommand, Errno.EINVAL, false),
            (DiscardMethod.Ioctl, Errno.EPERM, false),
            (DiscardMethod.Ioctl, Errno.EIO, false),
        ];
        foreach ((DiscardMethod method, int errno, bool refused) in answers)
        {
            ScriptedDisk device = new(4096) { LastMethod = DiscardMethod.Ioctl };
            using Rig rig = new(protocol, new RigOptions { Disk = device });
            for (DiscardMethod before = DiscardMethod.PunchHole; before < method; before++)
                Assert.True(device.RefuseDiscard(before));
            device.OnStart = piece => piece.DiscardMethod == method ? -errno : 0;
            int expected =
                !refused ? Blkif.RspError
                : method == DiscardMethod.Ioctl ? Blkif.RspEopnotsupp
                : Blkif.RspOkay;
            Assert.Equal(expected, rig.StatusOf(rig.Discard(0, 8)));
            Assert.Equal(refused ? method + 1 : method, device.DiscardMethod);
        }
    }

    [Theory, EveryAbi]
    [Proves("B12")]
    public void A_queue_that_hears_late_of_a_refusal_gives_up_no_more_than_the_first_did(BlkifProtocol protocol)
    {
        ScriptedDisk device = new(4096) { LastMethod = DiscardMethod.Ioctl };
        using Rig first = new(protocol, new RigOptions { Disk = device }),
            second = new(protocol, new RigOptions { Disk = device });
        first.Put(first.Discard(0, 8));
        first.PushAndRun();
        second.Put(second.Discard(8, 8));
        second.PushAndRun();
        ScriptedOperation[] punches = device.UnderWay;
        Assert.All(punches, piece => Assert.Equal(DiscardMethod.PunchHole, piece.DiscardMethod));

        device.Complete(punches[0], -Errno.EOPNOTSUPP);
        first.Run();
        device.Complete(Assert.Single(device.UnderWay, piece => piece.DiscardMethod == DiscardMethod.UringCommand));
        first.Run();
        Assert.Equal(Blkif.RspOkay, Assert.Single(first.Responses()).Status);

        device.Complete(punches[1], -Errno.EOPNOTSUPP);
        second.Run();
        Assert.Equal(DiscardMethod.UringCommand, device.DiscardMethod);
        ScriptedOperation again = Assert.Single(device.UnderWay);
        Assert.Equal((8 * 512L, DiscardMethod.UringCommand), (again.OffsetBytes, again.DiscardMethod));
        device.Complete(again);
        second.Run();
        Assert.Equal(Blkif.RspOkay, Assert.Single(second.Responses()).Status);
    }

    [Theory, EveryAbi(0, 3)]
    public void A_refusal_amid_many_pieces_does_all_of_them_anew_and_no_more_of_the_old(
        BlkifProtocol protocol,
        int refused
    )
    {
        ScriptedDisk device = new(HugeSectors) { LastMethod = DiscardMethod.Ioctl };
        using Rig rig = new(protocol, new RigOptions { Disk = device });
        rig.Put(rig.Discard(0, (ulong)(30 * PieceBytes / 512)));
        rig.PushAndRun();
        ScriptedOperation[] punches = device.UnderWay;
        device.Complete(punches[refused], -Errno.EOPNOTSUPP);
        rig.Run();
        // The others may still be in flight: no piece is in flight twice.
        Assert.Equal(punches.Length, device.Started.Length);
        foreach (ScriptedOperation punch in punches.Where(punch => punch.Number != refused))
            device.Complete(punch, -Errno.EOPNOTSUPP);
        rig.Run();
        rig.FinishDisk();
        Assert.Equal(Blkif.RspOkay, Assert.Single(rig.Responses()).Status);
        ScriptedOperation[] anew = device.Started[punches.Length..];
        Assert.All(anew, piece => Assert.Equal(DiscardMethod.UringCommand, piece.DiscardMethod));
        Assert.Equal(Enumerable.Range(0, 30).Select(i => i * PieceBytes), anew.Select(piece => piece.OffsetBytes));
    }

    [Theory, EveryAbi]
    [Proves("B12")]
    public void Pieces_end_where_the_units_of_the_store_do(BlkifProtocol protocol)
    {
        const int Unit = 192 << 10,
            Alignment = 64 << 10;
        ScriptedDisk device = new(HugeSectors) { DiscardBlock = 4096, DiscardUnit = (Unit, Alignment) };
        using Rig rig = new(protocol, new RigOptions { Disk = device });
        // Neither end is on a block boundary: the whole blocks between are discarded.
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Discard(3, (ulong)(5 * PieceBytes / 512))));
        long next = 4096,
            end = ((3 * 512) + (5 * PieceBytes)) & ~4095L;
        foreach (ScriptedOperation piece in device.Started)
        {
            Assert.Equal(next, piece.OffsetBytes);
            next += piece.LengthBytes;
            if (next != end)
                Assert.Equal(Alignment, next % Unit);
        }
        Assert.Equal((end, 6), (next, device.Started.Length));
    }

    [Theory, EveryAbi]
    [Proves("B12")]
    public void A_device_behind_the_page_cache_is_asked_for_whole_blocks_of_its_own(BlkifProtocol protocol)
    {
        ScriptedDisk device = new(4096) { DiscardBlock = 4096 };
        using Rig rig = new(protocol, new RigOptions { Disk = device });
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Discard(3, 30)));
        ScriptedOperation piece = Assert.Single(device.Started);
        Assert.Equal((8 * 512L, 24 * 512), (piece.OffsetBytes, piece.LengthBytes));
        // Within one block: the store cannot free anything, and that is no error.
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Discard(9, 6)));
        Assert.Single(device.Started);
        // Other requests still go by sectors.
        Assert.Equal(Blkif.RspOkay, rig.StatusOf(rig.Request(Blkif.OpWrite, 3, (0, 0))));
    }
}
