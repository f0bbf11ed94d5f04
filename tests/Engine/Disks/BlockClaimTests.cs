using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Interop;
using Blkring.Loopback;
using Microsoft.Extensions.Time.Testing;

namespace Blkring.Engine.Tests.Disks;

/// <summary>
/// A block device that is written is claimed, as a mount claims it. Here a file stands for the device; on a real one
/// tests/xen tries it.
/// </summary>
public sealed class BlockClaimTests
{
    private readonly ScriptedCalls _calls = new() { BlockDevices = true };
    private readonly FakeTimeProvider _time = new();

    [Theory]
    [InlineData(CacheMode.None)]
    [InlineData(CacheMode.Writeback)]
    [InlineData(CacheMode.Writethrough)]
    public void A_device_is_claimed_when_it_is_served_and_not_before(CacheMode cache)
    {
        using TempImage image = new(8);
        using FileDisk disk = Open(image, cache: cache);
        int flags = _calls.Opened[^1];
        disk.Lock(TimeSpan.Zero);
        Assert.Equal((ImageLock.Exclusive, false, 0), (disk.HeldLock, disk.IsClaimed, _calls.Claims));

        disk.LockToServe(TimeSpan.Zero);
        Assert.Equal((ImageLock.Exclusive, true, 1), (disk.HeldLock, disk.IsClaimed, _calls.Claims));
        // What was chosen at the opening stays, and the claimed file is the only one that is open.
        Assert.Equal(flags | Libc.O_EXCL, _calls.Opened[^1]);
        Assert.Single(Directory.GetFiles("/proc/self/fd"), link => new FileInfo(link).LinkTarget == image.Path);
        Assert.Throws<ImageException>(() => image.Open());

        disk.LockToServe(TimeSpan.Zero);
        Assert.Equal(1, _calls.Claims);
    }

    [Fact]
    public void A_claimed_device_is_read_and_written_and_let_go_of()
    {
        using TempImage image = new(4096);
        using (Reactor reactor = new())
        using (FileDisk disk = Open(image))
        {
            disk.LockToServe(TimeSpan.Zero);
            using Device device = new(reactor, BlkifProtocol.X86_64, disk, ownsDisk: false);
            WorkloadResult result = device.Work(TimeSpan.FromMilliseconds(100));
            Assert.True(result.IsRight, result.FirstProblem);
        }
        image.Open().Dispose();
    }

    [Theory]
    [InlineData(false, true, true)]
    [InlineData(true, false, true)]
    [InlineData(true, true, false)]
    public void A_reader_a_file_and_what_is_shared_on_purpose_are_not_claimed(bool writable, bool device, bool locked)
    {
        using TempImage image = new(8);
        _calls.BlockDevices = device;
        using FileDisk disk = FileDisk.Open(
            image.Path,
            new FileDiskOptions
            {
                Writable = writable,
                Lock = locked,
                Calls = _calls,
                Opener = _calls,
            }
        );
        Assert.Equal((false, 0), (disk.IsClaimed, _calls.Claims));
    }

    [Fact]
    public void A_device_that_the_host_uses_is_refused_in_one_line_that_says_what_to_do()
    {
        using TempImage image = new(8);
        _calls.ClaimErrors.Enqueue(Errno.EBUSY);
        using FileDisk disk = Open(image);
        ImageException error = Assert.Throws<ImageException>(() => disk.LockToServe(TimeSpan.FromSeconds(1)));
        Assert.Equal((ErrorCode.ImageInUseByHost, true), (error.Code, error.MayBeFreeLater));
        Assert.All(
            [image.Path, "is in use on this host", "read-only", "turn image locking off"],
            word => Assert.Contains(word, error.Message, StringComparison.Ordinal)
        );
        Assert.DoesNotContain('\n', error.Message);
        Assert.False(disk.IsClaimed);
    }

    [Fact]
    public void A_claim_that_lingers_is_waited_for()
    {
        using TempImage image = new(8);
        foreach (int errno in (int[])[Errno.EBUSY, Errno.EBUSY, 0])
            _calls.ClaimErrors.Enqueue(errno);
        using FileDisk disk = Open(image);
        disk.LockToServe(TimeSpan.FromSeconds(1));
        Assert.Equal((true, 3), (disk.IsClaimed, _calls.Claims));
    }

    [Fact]
    public void Who_gets_the_lock_while_it_moves_to_the_claimed_file_is_not_kept_from_the_claim()
    {
        using TempImage image = new(8);
        using FileDisk disk = Open(image);
        // Ours; somebody else's while it moves, and until then; ours, and moved.
        foreach (int errno in (int[])[0, Errno.EAGAIN, Errno.EAGAIN, 0, 0])
            _calls.LockErrors.Enqueue(errno);
        disk.LockToServe(TimeSpan.FromSeconds(1));
        Assert.Equal((ImageLock.Exclusive, true, 2), (disk.HeldLock, disk.IsClaimed, _calls.Claims));
    }

    [Fact]
    public void Who_uses_a_device_is_told_where_the_kernel_says_it()
    {
        using TempDirectory root = new();
        string disk = Device("sda", "8:0"),
            part = Device("sda/sda1", "8:1"),
            volume = Device("dm-3", "253:3");
        File.WriteAllText(Path.Combine(part, "partition"), "1\n");
        Directory.CreateDirectory(root.PathOf("proc/1"));
        Assert.Equal("", BlockDeviceUsers.Find("8:0", root.Path));

        File.WriteAllText(
            root.PathOf("proc/1/mountinfo"),
            """
            22 1 253:3 / /srv/old\040disks rw,noatime shared:1 - ext4 /dev/mapper/vg0-data rw
            23 1 0:30 / /mnt rw - btrfs /dev/sda1 rw
            24 1 0:5 / /dev rw - devtmpfs devtmpfs rw
            """
        );
        File.WriteAllText(root.PathOf("proc/swaps"), "Filename Type Size\n/dev/sdb2 partition 1 0 -2\n");
        Assert.Equal("mounted on /srv/old disks", BlockDeviceUsers.Find("253:3", root.Path));
        Assert.Equal("mounted on /mnt", BlockDeviceUsers.Find("8:1", root.Path));
        Assert.Equal("sda1 is mounted on /mnt", BlockDeviceUsers.Find("8:0", root.Path));

        Directory.CreateDirectory(Path.Combine(disk, "holders"));
        Directory.CreateSymbolicLink(Path.Combine(disk, "holders/dm-3"), volume);
        Directory.CreateDirectory(Path.Combine(volume, "dm"));
        File.WriteAllText(Path.Combine(volume, "dm/name"), "vg0-data\n");
        Assert.Equal("mounted on /mnt, sda is part of vg0-data (dm-3)", BlockDeviceUsers.Find("8:1", root.Path));
        File.WriteAllText(root.PathOf("proc/1/mountinfo"), "");
        File.WriteAllText(root.PathOf("proc/swaps"), "Filename Type Size\n/dev/dm-3 partition 1 0 -2\n");
        Assert.Equal("used for swapping", BlockDeviceUsers.Find("253:3", root.Path));

        string Device(string path, string number)
        {
            string folder = Directory.CreateDirectory(root.PathOf("sys/devices/" + path)).FullName;
            File.WriteAllText(Path.Combine(folder, "dev"), number + "\n");
            Directory.CreateDirectory(root.PathOf("sys/dev/block"));
            Directory.CreateSymbolicLink(root.PathOf("sys/dev/block/" + number), folder);
            return folder;
        }
    }

    private FileDisk Open(TempImage image, CacheMode cache = CacheMode.None) =>
        FileDisk.Open(
            image.Path,
            new FileDiskOptions
            {
                Writable = true,
                Cache = cache,
                Lock = false,
                Calls = _calls,
                Opener = _calls,
                Time = _time,
                Sleep = _time.Advance,
            }
        );
}
