using Blkring.Engine.Disks;

namespace Blkring.Engine.Tests.Disks;

/// <summary>What tells one image from another, whatever path leads to it.</summary>
public sealed class ImageIdentityTests
{
    [Fact]
    public void A_file_keeps_its_identity_under_another_name_and_a_copy_has_another()
    {
        using TempDirectory folder = new();
        string path = folder.PathOf("disk.img"),
            moved = folder.PathOf("moved.img"),
            copy = folder.PathOf("copy.img");
        File.WriteAllBytes(path, new byte[4096]);
        ImageIdentity before = IdentityOf(path);
        File.Move(path, moved);
        File.Copy(moved, copy);
        Assert.Equal(before, IdentityOf(moved));
        Assert.False(IdentityOf(copy).IsStill(before));
        // The inode's number may be used again at once; what is made in it is another file.
        File.Delete(moved);
        File.WriteAllBytes(path, new byte[4096]);
        Assert.False(IdentityOf(path).IsStill(before));
    }

    [Fact]
    public void A_line_says_all_of_it_and_one_of_another_form_is_not_compared()
    {
        ImageIdentity identity = new("block:name with spaces", IsUnique: false, 4096);
        Assert.Equal(identity, ImageIdentity.TryParse(identity.ToLine()));
        Assert.Null(ImageIdentity.TryParse("image-2 unique 4096 block:x\n"));
        Assert.Null(ImageIdentity.TryParse(""));
        Assert.Null(ImageIdentity.TryParse("image-1 unique -1 block:x"));
    }

    [Theory]
    [InlineData(true, 4096, true)]
    [InlineData(true, 8192, true)]
    [InlineData(true, 2048, false)]
    [InlineData(false, 4096, true)]
    [InlineData(false, 8192, false)]
    public void Only_an_image_that_is_known_for_sure_may_have_grown(bool unique, long now, bool still) =>
        Assert.Equal(still, new ImageIdentity("x", unique, now).IsStill(new ImageIdentity("x", unique, 4096)));

    [Theory]
    [InlineData("dm/uuid=LVM-abc", "block:LVM-abc", true)]
    [InlineData("device/wwid=naa.5000 c500\n", "block:naa.5000_c500", true)]
    [InlineData("wwid=eui.1;serial=S1", "block:eui.1", true)]
    [InlineData("serial=\n", "block:8:16", false)]
    [InlineData("", "block:8:16", false)]
    public void A_block_device_is_known_by_what_sysfs_says_of_it(string files, string name, bool unique) =>
        Assert.Equal(
            (name, unique),
            ImageIdentity.OfBlockDevice("8:16", "/sys/block/sdb", Sysfs("/sys/block/sdb", files))
        );

    [Fact]
    public void A_partition_is_a_part_of_its_disk()
    {
        Func<string, string?> disk = Sysfs("/sys/block/sdb", "device/wwid=naa.5"),
            part = Sysfs("/sys/block/sdb/sdb2", "partition=2\n;start=2048\n");
        Assert.Equal(
            ("block:naa.5-part2@2048", true),
            ImageIdentity.OfBlockDevice("8:18", "/sys/block/sdb/sdb2", path => part(path) ?? disk(path))
        );
    }

    private static ImageIdentity IdentityOf(string path)
    {
        using FileDisk disk = FileDisk.Open(path, new FileDiskOptions());
        return Assert.IsType<ImageIdentity>(disk.Identity);
    }

    private static Func<string, string?> Sysfs(string folder, string files)
    {
        Dictionary<string, string> texts = files
            .Split(';', StringSplitOptions.RemoveEmptyEntries)
            .Select(file => file.Split('=', 2))
            .ToDictionary(parts => $"{folder}/{parts[0]}", parts => parts[1]);
        return path => texts.GetValueOrDefault(path);
    }
}
