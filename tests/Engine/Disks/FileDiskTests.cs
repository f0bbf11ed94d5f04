using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Tests.Kit;
using Blkring.Interop;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Disks;

/// <summary>Opening images: what is refused, with which message, and what is chosen.</summary>
public sealed class FileDiskTests
{
    private const nint SetFsUid = 122;
    private const nint SetFsUidArm64 = 151;
    private const nint Nobody = 65534;

    [Theory, EveryAbi]
    public void An_image_in_memory_is_read_and_written_at_once(BlkifProtocol protocol)
    {
        string path = $"/dev/shm/blkring-test-{Guid.NewGuid()}";
        try
        {
            using (FileStream file = File.Create(path))
                file.SetLength(4096 * Disk.SectorBytes);
            using FileDisk disk = FileDisk.Open(path, new FileDiskOptions { Writable = true });
            Assert.True(disk.IsInMemory);
            Assert.EndsWith(", in memory", disk.Describe(), StringComparison.Ordinal);
            using Reactor reactor = new();
            using Device device = new(reactor, protocol, disk, ownsDisk: false);
            WorkloadResult result = device.Work(TimeSpan.FromMilliseconds(100));
            Assert.True(result.IsRight, result.FirstProblem);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void What_cannot_be_served_is_refused_in_one_line_that_says_what_to_do()
    {
        using TempImage image = new(8);
        File.WriteAllBytes(image.PathOf("empty"), []);
        File.WriteAllBytes(image.PathOf("odd"), new byte[1000]);

        Refused("", "name a raw image file or a block device");
        Refused(image.PathOf("missing"), "does not exist", "truncate -s 1G");
        Refused(image.PathOf("disk.img/inside"), "does not exist");
        Refused(image.Folder, "is a folder");
        Refused("/dev/null", "neither a regular file nor a block device");
        Refused(image.PathOf("empty"), "is empty", "truncate -s");
        Refused(image.PathOf("odd"), "1000 bytes", "not a whole number of 512-byte sectors", "truncate -s %512");
        Refused(image.Path, new FileDiskOptions { MinLengthBytes = 8192 }, "too small", "4096 bytes", "8192");
        FileDisk.Open(image.Path, new FileDiskOptions { MinLengthBytes = 4096 }).Dispose();
    }

    [Fact]
    public void A_fifo_is_refused_without_waiting_for_its_other_end()
    {
        using TempImage image = new(8);
        Programs.Output("mkfifo", [image.PathOf("fifo")]);
        Refused(image.PathOf("fifo"), "neither a regular file nor a block device");
    }

    [Fact]
    public void An_image_that_may_not_be_read_is_refused_with_the_reason()
    {
        using TempImage image = new(8);
        File.SetUnixFileMode(image.Folder, (UnixFileMode)0x1ff);
        File.SetUnixFileMode(image.Path, UnixFileMode.UserWrite);
        AsNobody(() => Refused(image.Path, "cannot be read", "EACCES", "read permission"));
    }

    [Fact]
    public void An_image_that_may_not_be_written_is_served_to_readers_only()
    {
        using TempImage image = new(8);
        File.SetUnixFileMode(image.Folder, (UnixFileMode)0x1ff);
        // The file belongs to root and all may read it: another user can only read it.
        File.SetUnixFileMode(
            image.Path,
            UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead
        );
        // The file's owner can write it without privileges.
        if (!Environment.IsPrivilegedProcess)
            File.SetUnixFileMode(image.Path, UnixFileMode.UserRead | UnixFileMode.GroupWrite);
        AsNobody(() =>
        {
            Refused(image.Path, "may not be written: EACCES", "attach it read-only");
            using FileDisk disk = image.Open(writable: false);
            Assert.Contains("read-only (as asked)", disk.Describe(), StringComparison.Ordinal);
        });
    }

    [Theory]
    [InlineData("444", true, true, "its mode has no write permission")]
    [InlineData("644", true, false, "read-write")]
    [InlineData("644", false, true, "read-only (as asked)")]
    [InlineData("420", true, false, "read-write")]
    public void Mode_bits_decide_also_for_root(string mode, bool writable, bool readOnly, string said)
    {
        using TempImage image = new(8);
        // 0420: only the group may write. Root can write all the same; this case matters for root alone.
        if (mode != "420" || Environment.IsPrivilegedProcess)
            File.SetUnixFileMode(image.Path, (UnixFileMode)Convert.ToInt32(mode, 8));
        using FileDisk disk = image.Open(writable);
        Assert.Equal(readOnly, disk.ReadOnly);
        Assert.Equal(!readOnly, disk.DiscardSupported);
        Assert.Contains(said, disk.Describe(), StringComparison.Ordinal);
        Assert.Contains("8 sectors", disk.Describe(), StringComparison.Ordinal);
        Assert.Equal(8, disk.CapacitySectors);
        Assert.False(disk.IsBlockDevice);
    }

    [Fact]
    public void The_choice_of_cache_is_stated_with_its_reason()
    {
        using TempImage image = new(8);
        using (FileDisk buffered = image.Open(cache: CacheMode.Writeback))
        {
            Assert.False(buffered.Direct);
            Assert.EndsWith("buffered (as asked)", buffered.Describe(), StringComparison.Ordinal);
        }
        bool allowed;
        using (FileDisk chosen = image.Open(cache: CacheMode.None))
        {
            allowed = chosen.Direct;
            if (allowed)
                Assert.EndsWith("O_DIRECT (the file allows it)", chosen.Describe(), StringComparison.Ordinal);
            else
                Assert.Contains("buffered (", chosen.Describe(), StringComparison.Ordinal);
        }
        if (allowed)
        {
            using FileDisk direct = image.Open(cache: CacheMode.Direct);
            Assert.EndsWith("O_DIRECT (as asked)", direct.Describe(), StringComparison.Ordinal);
        }
        else
        {
            Refused(
                image.Path,
                new FileDiskOptions { Cache = CacheMode.Direct },
                "O_DIRECT",
                "use the page cache instead"
            );
        }
    }

    [Theory]
    [InlineData(CacheMode.Writethrough, true)]
    [InlineData(CacheMode.Writeback, false)]
    public void Writethrough_asks_the_kernel_for_stable_writes(CacheMode cache, bool stable)
    {
        using TempImage image = new(8);
        using FileDisk disk = image.Open(cache: cache);
        FileSystemInfo descriptor = new DirectoryInfo("/proc/self/fd")
            .EnumerateFileSystemInfos()
            .Single(entry => entry.ResolveLinkTarget(false)?.FullName == image.Path);
        string flags = File.ReadLines($"/proc/self/fdinfo/{descriptor.Name}")
            .Single(line => line.StartsWith("flags:", StringComparison.Ordinal))["flags:".Length..];
        Assert.Equal(stable, (Convert.ToInt32(flags.Trim(), 8) & Libc.O_DSYNC) != 0);
        Assert.False(disk.Direct);
    }

    [Fact]
    public void The_length_can_be_measured_again_and_the_geometry_is_the_file_systems()
    {
        using TempImage image = new(8);
        using FileDisk disk = image.Open();
        using (FileStream file = new(image.Path, FileMode.Open))
            file.SetLength(16 * Disk.SectorBytes);
        Assert.Equal((16 * Disk.SectorBytes, 8), (disk.MeasureBytes(), disk.CapacitySectors));
        Assert.InRange(disk.PhysicalSectorBytes, Disk.SectorBytes, 4096);
        Assert.Equal((disk.PhysicalSectorBytes, 0), (disk.DiscardGranularityBytes, disk.DiscardAlignmentBytes));
    }

    [Fact]
    public void The_limits_of_a_disk_and_of_its_partitions_are_found_where_sysfs_has_them()
    {
        using TempImage place = new(1);
        string disk = Directory.CreateDirectory(place.PathOf("devices/sda/queue")).Parent!.FullName;
        File.WriteAllText(Path.Combine(disk, "queue/discard_granularity"), "65536\n");
        File.WriteAllText(Path.Combine(disk, "discard_alignment"), "0\n");
        File.WriteAllText(
            Path.Combine(Directory.CreateDirectory(Path.Combine(disk, "sda1")).FullName, "discard_alignment"),
            "4096\n"
        );
        Directory.CreateDirectory(place.PathOf("dev"));
        Directory.CreateSymbolicLink(place.PathOf("dev/8:0"), "../devices/sda");
        Directory.CreateSymbolicLink(place.PathOf("dev/8:1"), "../devices/sda/sda1");

        Assert.Equal((65536, 0), Limits("dev/8:0"));
        Assert.Equal((65536, 4096), Limits("dev/8:1"));
        Assert.Equal((0, 0), Limits("dev/9:9"));
        // Larger than plausible: ignored.
        File.WriteAllText(Path.Combine(disk, "queue/discard_granularity"), "1099511627776\n");
        Assert.Equal((0, 0), Limits("dev/8:0"));

        (int, int) Limits(string device) =>
            (
                DiskGeometry.ReadLimit(place.PathOf(device), "queue/discard_granularity"),
                DiskGeometry.ReadLimit(place.PathOf(device), "discard_alignment")
            );
    }

    [Fact]
    public void Of_a_file_punching_is_the_only_way_to_discard()
    {
        using TempImage image = new(8);
        using FileDisk disk = image.Open();
        Assert.Equal(
            (DiscardMethod.PunchHole, true, true),
            (disk.DiscardMethod, disk.DiscardSupported, disk.DiscardZeroes)
        );
        Assert.Equal(Disk.SectorBytes, disk.DiscardBlockBytes);
        Assert.False(disk.RefuseDiscard(DiscardMethod.PunchHole));
        Assert.Equal(
            (DiscardMethod.None, false, false),
            (disk.DiscardMethod, disk.DiscardSupported, disk.DiscardZeroes)
        );
    }

    [Fact]
    public void What_is_opened_is_closed_also_after_a_refusal()
    {
        using TempImage image = new(8);
        Cycle();
        int before = ThisProcess.OpenDescriptors();
        for (int i = 0; i < 10; i++)
            Cycle();
        Assert.Equal(before, ThisProcess.OpenDescriptors());

        void Cycle()
        {
            foreach (CacheMode cache in Enum.GetValues<CacheMode>())
                image.Open(cache: cache).Dispose();
            Refused(image.Path, new FileDiskOptions { MinLengthBytes = 8192, Writable = true }, "too small");
        }
    }

    [Fact]
    public void A_refusal_has_a_code_as_well_as_a_sentence()
    {
        using TempImage image = new(8);
        File.WriteAllBytes(image.PathOf("odd"), new byte[1000]);
        Assert.Equal(ErrorCode.ImageMissing, ErrorOf(image.PathOf("missing")));
        Assert.Equal(ErrorCode.ImagePathEmpty, ErrorOf(""));
        Assert.Equal(ErrorCode.ImageWrongType, ErrorOf(image.Folder));
        Assert.Equal(ErrorCode.ImageWrongType, ErrorOf("/dev/null"));
        Assert.Equal(ErrorCode.ImageMisaligned, ErrorOf(image.PathOf("odd")));
        Assert.Equal(ErrorCode.ImageTooSmall, ErrorOf(image.Path, new FileDiskOptions { MinLengthBytes = 8192 }));
        Assert.Equal(ErrorCode.ImageMisaligned, ErrorOf(image.Path, new FileDiskOptions { MinAlignmentBytes = 8192 }));

        static ErrorCode ErrorOf(string path, FileDiskOptions? options = null) =>
            Assert.Throws<ImageException>(() => FileDisk.Open(path, options ?? new FileDiskOptions())).Code;
    }

    private static void Refused(string path, params string[] words) =>
        Refused(path, new FileDiskOptions { Writable = true }, words);

    private static void Refused(string path, FileDiskOptions options, params string[] words)
    {
        ImageException error = Assert.Throws<ImageException>(() => FileDisk.Open(path, options));
        Assert.All((string[])[path, .. words], word => Assert.Contains(word, error.Message, StringComparison.Ordinal));
        Assert.DoesNotContain('\n', error.Message);
    }

    /// <summary>
    /// Root can open anything, so the test drops that privilege, on a thread of its own. Other users lose nothing.
    /// </summary>
    private static void AsNobody(Action action)
    {
        Exception? error = null;
        Thread thread = new(() =>
        {
            try
            {
                bool arm =
                    System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture
                    == System.Runtime.InteropServices.Architecture.Arm64;
                if (Environment.IsPrivilegedProcess)
                    Libc.Syscall(arm ? SetFsUidArm64 : SetFsUid, Nobody);
                action();
            }
            catch (Exception caught)
            {
                error = caught;
            }
        });
        thread.Start();
        thread.Join();
        if (error is not null)
            throw new InvalidOperationException(error.Message, error);
    }
}
