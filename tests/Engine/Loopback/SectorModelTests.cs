using Blkring.Loopback;

namespace Blkring.Engine.Tests.Loopback;

/// <summary>The judge of every workload must see each way in which a sector can be wrong.</summary>
public sealed unsafe class SectorModelTests
{
    [Fact]
    public void What_was_written_last_is_right_and_a_single_flipped_bit_is_not()
    {
        SectorModel model = new(8, seed: 1);
        byte* sector = stackalloc byte[512];
        model.Write(3, sector);
        Assert.True(model.IsRight(3, sector));
        for (int bit = 0; bit < 512 * 8; bit++)
        {
            sector[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.False(model.IsRight(3, sector));
            sector[bit / 8] ^= (byte)(1 << (bit % 8));
        }
        Assert.True(model.IsRight(3, sector));
    }

    [Fact]
    public void An_older_version_is_wrong_also_across_a_discard()
    {
        SectorModel model = new(8, seed: 1);
        byte* old = stackalloc byte[512];
        byte* current = stackalloc byte[512];
        for (int sector = 0; sector < 4; sector++)
        {
            model.Write(sector, old);
            if (sector == 1)
                model.Discard(sector, 1, zeroes: true);
            if (sector == 2)
                model.Discard(sector, 1, zeroes: false);
            if (sector == 3)
                model.Forget(sector, 1);
            model.Write(sector, current);
            Assert.True(model.IsRight(sector, current));
            Assert.False(
                model.IsRight(sector, old),
                $"sector {sector}: what was there before passes for what was written last"
            );
        }
    }

    [Fact]
    public void The_content_of_another_sector_or_another_run_is_wrong()
    {
        SectorModel model = new(8, seed: 1),
            otherRun = new(8, seed: 2);
        byte* content = stackalloc byte[512];
        byte* other = stackalloc byte[512];
        model.Write(3, content);
        model.Write(4, other);
        Assert.False(model.IsRight(3, other));
        Assert.False(model.IsRight(4, content));
        otherRun.Write(3, other);
        Assert.False(model.IsRight(3, other));
    }

    [Fact]
    public void Halves_of_two_versions_are_wrong()
    {
        SectorModel model = new(8, seed: 1);
        byte* old = stackalloc byte[512];
        byte* current = stackalloc byte[512];
        model.Write(0, old);
        model.Write(0, current);
        for (int at = 8; at < 512; at += 8)
        {
            byte[] mixed = [.. new ReadOnlySpan<byte>(current, at), .. new ReadOnlySpan<byte>(old + at, 512 - at)];
            fixed (byte* m = mixed)
                Assert.False(model.IsRight(0, m));
        }
    }

    [Fact]
    public void Untouched_and_discarded_sectors_are_zeros_and_unknown_ones_anything()
    {
        SectorModel model = new(8, seed: 1);
        byte* content = stackalloc byte[512];
        Assert.True(model.IsRight(0, content));
        Assert.False(model.IsTouched(0));
        content[511] = 1;
        Assert.False(model.IsRight(0, content));

        model.Write(1, content);
        model.Discard(1, 2, zeroes: true);
        Assert.False(model.IsRight(1, content));
        Assert.True(model.IsTouched(1) && model.IsTouched(2) && !model.IsTouched(3));
        new Span<byte>(content, 512).Clear();
        Assert.True(model.IsRight(1, content));
        model.Forget(1, 1);
        content[0] = 1;
        Assert.True(model.IsRight(1, content));
        Assert.False(model.IsRight(2, content));
    }

    [Fact]
    public void An_untouched_sector_is_what_the_baseline_says()
    {
        SectorModel model = new(8, seed: 1)
        {
            Baseline = (sector, bytes) =>
            {
                Array.Fill(bytes, (byte)sector);
                return sector != 7;
            },
        };
        byte* content = stackalloc byte[512];
        new Span<byte>(content, 512).Fill(5);
        Assert.True(model.IsRight(5, content));
        Assert.False(model.IsRight(6, content));
        new Span<byte>(content, 512).Fill(7);
        Assert.False(model.IsRight(7, content));
    }
}
