using System.Numerics;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Tests.Kit;
using Blkring.Interop;

namespace Blkring.Engine.Tests.Queues.Parts;

public sealed class DiscardPiecesTests
{
    private const long GiB = 1L << 30;
    private const long DiskSectors = 1L << 40;

    [Theory]
    [InlineData(0, 8, 0, 4096)]
    [InlineData(1, 7, 4096, 4096)]
    [InlineData(3, 10, 4096, 4096)]
    [InlineData(7, 18, 4096, 12288)]
    public void Only_blocks_that_the_range_covers_whole_are_discarded(int sector, int sectors, long start, long end)
    {
        using PartArena part = new();
        using ScriptedDisk disk = new(DiskSectors) { DiscardBlock = 4096 };
        ref RequestSlot slot = ref Begin(part, disk, sector, sectors);
        Assert.Equal((start, end), (slot.OffsetBytes, slot.DiscardEnd));
        Assert.Equal(end > start, DiscardPieces.HasNext(ref slot));
    }

    [Fact]
    public void Pieces_cover_the_range_without_a_gap_and_no_more_than_the_window_is_under_way()
    {
        using PartArena part = new();
        using ScriptedDisk disk = new(DiskSectors);
        ref RequestSlot slot = ref Begin(part, disk, 5, 41 * GiB / 512);
        Queue<uint> underWay = [];
        long next = 5 * 512;
        int pieces = 0;
        while (true)
        {
            while (DiscardPieces.HasNext(ref slot))
            {
                DiskOperation piece = DiscardPieces.Next(ref slot, disk);
                Assert.Equal((DiskOperationKind.Discard, next), (piece.Kind, piece.OffsetBytes));
                Assert.Equal(0, piece.LengthBytes % 512);
                Assert.True(piece.LengthBytes > 0);
                next += piece.LengthBytes;
                DiscardPieces.NoteStarted(ref slot, IDiskIo.Pending);
                underWay.Enqueue(slot.Generation);
                pieces++;
            }
            if (underWay.Count == 0)
                break;
            Assert.InRange(underWay.Count, 1, 64);
            DiscardPieces.Complete(ref slot, underWay.Dequeue(), 0);
        }
        Assert.Equal((5 * 512) + (41 * GiB), next);
        Assert.Equal((21, 0UL, 0), (pieces, slot.DiscardPieces, slot.DiscardError));
    }

    [Fact]
    public void Every_piece_but_the_last_ends_where_a_unit_of_the_store_does()
    {
        const int Unit = 3 << 20,
            Offset = 1 << 20;
        using PartArena part = new();
        using ScriptedDisk disk = new(DiskSectors) { DiscardBlock = 4096, DiscardUnit = (Unit, Offset) };
        ref RequestSlot slot = ref Begin(part, disk, 8, 7 * GiB / 512);
        int inner = 0;
        while (DiscardPieces.HasNext(ref slot))
        {
            DiskOperation piece = DiscardPieces.Next(ref slot, disk);
            DiscardPieces.NoteStarted(ref slot, 0);
            if (slot.DiscardNext == slot.DiscardEnd)
                continue;
            inner++;
            Assert.Equal(Offset, (piece.OffsetBytes + piece.LengthBytes) % Unit);
        }
        Assert.Equal(3, inner);
    }

    [Fact]
    public void A_piece_that_takes_long_lets_no_other_pass_for_it()
    {
        using PartArena part = new();
        using ScriptedDisk disk = new(DiskSectors);
        ref RequestSlot slot = ref Begin(part, disk, 0, 400 * GiB / 512);
        DiscardPieces.Next(ref slot, disk);
        uint slow = slot.Generation;
        DiscardPieces.NoteStarted(ref slot, IDiskIo.Pending);
        int others = 0;
        for (; DiscardPieces.HasNext(ref slot); others++)
        {
            DiscardPieces.Next(ref slot, disk);
            DiscardPieces.NoteStarted(ref slot, 0);
        }
        // As far as the bits reach, which is not the end of the range.
        Assert.Equal(63, others);
        Assert.True(slot.DiscardNext < slot.DiscardEnd);
        Assert.True(DiscardPieces.IsUnderWay(ref slot, slow));
        Assert.False(DiscardPieces.IsUnderWay(ref slot, slow - 1));
        Assert.False(DiscardPieces.IsUnderWay(ref slot, slow + 64));
        DiscardPieces.Complete(ref slot, slow, 0);
        Assert.False(DiscardPieces.IsUnderWay(ref slot, slow));
        Assert.True(DiscardPieces.HasNext(ref slot));
    }

    [Fact]
    public void Pieces_complete_in_any_order_and_each_once()
    {
        using PartArena part = new();
        using ScriptedDisk disk = new(DiskSectors);
        ref RequestSlot slot = ref Begin(part, disk, 0, 6 * GiB / 512);
        List<uint> generations = [];
        for (; DiscardPieces.HasNext(ref slot); generations.Add(slot.Generation))
        {
            DiscardPieces.Next(ref slot, disk);
            DiscardPieces.NoteStarted(ref slot, IDiskIo.Pending);
        }
        Assert.Equal(4, generations.Distinct().Count());
        foreach (uint generation in new[] { generations[2], generations[0], generations[3], generations[1] })
        {
            int before = BitOperations.PopCount(slot.DiscardPieces);
            DiscardPieces.Complete(ref slot, generation, 0);
            Assert.False(DiscardPieces.IsUnderWay(ref slot, generation));
            Assert.Equal(before - 1, BitOperations.PopCount(slot.DiscardPieces));
        }
    }

    [Theory]
    [InlineData(Errno.EAGAIN, Errno.EIO, Errno.EIO)]
    [InlineData(Errno.EIO, Errno.EAGAIN, Errno.EIO)]
    [InlineData(Errno.EINTR, 0, Errno.EINTR)]
    [InlineData(0, Errno.ENOSPC, Errno.ENOSPC)]
    [InlineData(Errno.ENOSPC, Errno.EIO, Errno.ENOSPC)]
    [InlineData(Errno.EAGAIN, Errno.EOPNOTSUPP, Errno.EOPNOTSUPP)]
    public void An_error_that_stays_outweighs_one_that_a_retry_may_cure(int first, int second, int expected)
    {
        using PartArena part = new();
        using ScriptedDisk disk = new(DiskSectors);
        ref RequestSlot slot = ref Begin(part, disk, 0, 4 * GiB / 512);
        foreach (int errno in new[] { first, second })
        {
            DiscardPieces.Next(ref slot, disk);
            DiscardPieces.NoteStarted(ref slot, -errno);
        }
        Assert.Equal(expected, slot.DiscardError);
    }

    [Fact]
    public void A_store_that_refuses_the_method_is_asked_for_no_further_piece_and_then_for_all_anew()
    {
        using PartArena part = new();
        using ScriptedDisk disk = new(DiskSectors) { LastMethod = DiscardMethod.Ioctl };
        ref RequestSlot slot = ref Begin(part, disk, 16, 9 * GiB / 512);
        DiscardPieces.Next(ref slot, disk);
        DiscardPieces.NoteStarted(ref slot, 0);
        DiscardPieces.Next(ref slot, disk);
        DiscardPieces.NoteStarted(ref slot, -Errno.EOPNOTSUPP);
        Assert.False(DiscardPieces.HasNext(ref slot));
        uint before = slot.Generation;

        Assert.True(disk.RefuseDiscard(slot.DiscardMethod));
        DiscardPieces.Rewind(ref slot, disk);
        Assert.Equal((DiscardMethod.UringCommand, 0), (slot.DiscardMethod, slot.DiscardError));
        Assert.NotEqual(before, slot.Generation);
        DiskOperation again = DiscardPieces.Next(ref slot, disk);
        Assert.Equal((16L * 512, DiscardMethod.UringCommand), (again.OffsetBytes, again.DiscardMethod));
        // A policy that forbids the command says so by EPERM.
        DiscardPieces.NoteStarted(ref slot, -Errno.EPERM);
        Assert.Equal(Errno.EOPNOTSUPP, slot.DiscardError);
    }

    private static ref RequestSlot Begin(PartArena part, Disk disk, long sector, long sectors)
    {
        ref RequestSlot slot = ref part.Slots[0];
        (slot.Request.SectorNumber, slot.Request.NrSectors) = ((ulong)sector, (ulong)sectors);
        DiscardPieces.Begin(ref slot, disk);
        return ref slot;
    }
}
