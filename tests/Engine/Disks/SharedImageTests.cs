using Blkring.Engine.Disks;
using Blkring.Interop;

namespace Blkring.Engine.Tests.Disks;

/// <summary>What the open disks of one image share, and what of it is kept.</summary>
public sealed class SharedImageTests
{
    private static readonly FileDiskOptions s_blocks = new() { Cache = CacheMode.Writeback, MinAlignmentBytes = 4096 };

    [Fact]
    public void Disks_of_one_image_exclude_each_others_read_modify_writes()
    {
        using TempDirectory folder = new();
        string image = NewImage(folder, "image"),
            link = folder.PathOf("link");
        File.CreateSymbolicLink(link, image);
        using FileDisk first = FileDisk.Open(image, s_blocks),
            second = FileDisk.Open(link, s_blocks),
            other = FileDisk.Open(NewImage(folder, "other"), s_blocks);
        int taken = first.Ranges!.TryTake(0, 4096, exclusive: true);
        Assert.Equal(BlockRanges.None, second.Ranges!.TryTake(0, 4096, exclusive: true));
        Assert.NotEqual(BlockRanges.None, other.Ranges!.TryTake(0, 4096, exclusive: true));
        first.Ranges!.Return(taken);
        Assert.NotEqual(BlockRanges.None, second.Ranges!.TryTake(0, 4096, exclusive: true));
    }

    [Fact]
    public void Lost_writes_concern_all_disks_of_the_image_while_one_is_open()
    {
        using TempDirectory folder = new();
        string image = NewImage(folder, "image");
        using (FileDisk first = FileDisk.Open(image, s_blocks))
        {
            using (FileDisk second = FileDisk.Open(image, s_blocks))
                second.Lost.Note(Errno.EIO);
            Assert.Equal(Errno.EIO, first.Lost.Errno);
        }
        using FileDisk later = FileDisk.Open(image, s_blocks);
        Assert.Equal(0, later.Lost.Errno);
    }

    [Fact]
    public void Lost_writes_are_kept_in_a_file_until_they_are_accepted()
    {
        using TempDirectory folder = new();
        string path = folder.PathOf("lost");
        using (LostWrites lost = new())
        {
            Assert.Equal(0, lost.KeepIn(path));
            lost.Note(Errno.EIO);
            lost.Note(Errno.ENOSPC);
            // The daemon may be killed from here on: the file has it already.
            using LostWrites beside = new();
            Assert.Equal((0, Errno.EIO), (beside.KeepIn(path), beside.Errno));
        }
        using (LostWrites next = new())
        {
            Assert.Equal((0, Errno.EIO), (next.KeepIn(path), next.Errno));
            next.Clear();
        }
        Assert.False(File.Exists(path));
        using LostWrites early = new();
        early.Note(Errno.EDQUOT);
        Assert.Equal((0, Errno.EDQUOT), (early.KeepIn(path), early.Errno));
        Assert.Equal(Errno.ENOENT, new LostWrites().KeepIn(folder.PathOf("none/lost")));
    }

    [Fact]
    public void An_image_is_flushed_by_the_control_plane()
    {
        using TempDirectory folder = new();
        using FileDisk disk = FileDisk.Open(NewImage(folder, "image"), s_blocks);
        Assert.Equal(0, disk.Flush(Wait.Limit));
    }

    private static string NewImage(TempDirectory folder, string name)
    {
        string path = folder.PathOf(name);
        using FileStream file = File.Create(path);
        file.SetLength(1 << 20);
        return path;
    }
}
