namespace Blkring.Integration.Tests;

/// <summary>
/// What cannot be done is refused in one line that says what to do, with exit code 2, before anything is touched.
/// </summary>
public sealed class BadInputTests : IDisposable
{
    private readonly TempDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("--iodepth 0", "whole number from 1")]
    [InlineData("--iodepth -1", "whole number from 1")]
    [InlineData("--iodepth abc", "whole number from 1")]
    [InlineData("--iodepth 100000", "at most 32")]
    [InlineData("--iodepth 99999999999", "whole number from 1")]
    [InlineData("--iodepth 33", "at most 32, or more --ring-pages")]
    [InlineData("--ring-pages 16 --iodepth 513", "at most 512")]
    [InlineData("--ring-pages 3", "1, 2, 4, 8 or 16")]
    [InlineData("--ring-pages 32", "1, 2, 4, 8 or 16")]
    [InlineData("--abi foo", "native, x86_32, x86_64 or all")]
    [InlineData("--seconds 0", "a number above 0")]
    [InlineData("--seconds -1", "a number above 0")]
    [InlineData("--seconds nan", "a number above 0")]
    [InlineData("--seconds Infinity", "a number above 0")]
    [InlineData("--seconds 1,5", "a number above 0")]
    [InlineData("--seconds", "'--seconds'")]
    [InlineData("--processes 3", "1 or 2")]
    [InlineData("--processes 0", "1 or 2")]
    [InlineData("--disk null", "file or memory")]
    [InlineData("--cache none", "auto, direct or buffered")]
    [InlineData("--io aio", "auto, io_uring or sync")]
    [InlineData("--seed -1", "a whole number from 0")]
    [InlineData("--no-such-option", "'--no-such-option' is not known")]
    [InlineData("surplus", "'surplus' is not known")]
    [InlineData("--abi native --abi x86_32", "'--abi'")]
    [InlineData("--disk memory --image x", "leave one out")]
    [InlineData("--disk memory --cache direct", "leave it out")]
    [InlineData("--image", "'--image'")]
    [InlineData("--queues 0", "a whole number from 1 to 16")]
    [InlineData("--threads 17", "a whole number from 1 to 16")]
    [InlineData("--grants share", "copy, map or persistent")]
    [InlineData("--indirect 5000", "a whole number from 0 to 4096")]
    [InlineData("--indirect 11", "give 12 to 4096, or 0")]
    [InlineData("--indirect 4096 --ring-pages 16", "fewer --queues")]
    [InlineData("--poll-window -1", "a whole number from 0")]
    [InlineData("--iops 5", "at least 100")]
    [InlineData("--bandwidth much", "a whole number from 0")]
    [InlineData("--sector-size 520", "512 or 4096")]
    [InlineData("--compare luck", "give queues, threads,")]
    [InlineData("--queues 2 --processes 2", "leave one out")]
    [InlineData("--compare poll --processes 2", "leave one out")]
    [InlineData("--compare poll --image x --write", "leave --write out")]
    public void A_nonsense_option_is_refused(string arguments, string expected) =>
        AssertRefused(expected, ["demo", .. arguments.Split(' ')]);

    [Theory]
    [InlineData("no-such-command", "'no-such-command' is not known; see 'blkring --help'")]
    [InlineData("--no-such-option", "'--no-such-option' is not known; see 'blkring --help'")]
    public void A_nonsense_command_is_refused(string arguments, string expected) =>
        AssertRefused(expected, arguments.Split(' '));

    [Fact]
    public void An_image_that_is_missing_is_refused() =>
        AssertImageRefused(_folder.PathOf("missing.img"), "does not exist");

    [Fact]
    public void An_image_below_a_file_is_refused() =>
        AssertImageRefused(Path.Combine(_folder.WriteImage("file", 512), "disk.img"), "does not exist");

    [Fact]
    public void An_image_that_is_a_folder_is_refused() => AssertImageRefused(_folder.Path, "is a folder");

    [Fact]
    public void An_image_that_is_a_character_device_is_refused() =>
        AssertImageRefused("/dev/null", "neither a regular file nor a block device");

    [Fact]
    public void An_empty_image_is_refused() => AssertImageRefused(_folder.WriteImage("empty.img", 0), "is empty");

    [Fact]
    public void An_image_of_half_a_sector_more_is_refused() =>
        AssertImageRefused(_folder.WriteImage("odd.img", (2 << 20) + 256), "not a whole number");

    [Fact]
    public void An_image_that_is_too_small_is_refused() =>
        AssertImageRefused(_folder.WriteImage("small.img", 64 * 1024), "too small");

    [Fact]
    public void An_image_that_may_not_be_written_is_not_written()
    {
        // Root can write it all the same, but a file without a write bit was made read-only on purpose.
        string image = _folder.WriteImage("readonly.img", 2 << 20);
        File.SetUnixFileMode(image, UnixFileMode.UserRead);
        byte[] before = File.ReadAllBytes(image);

        AssertRefused("make it writable or leave --write out", "demo", "--image", image, "--write");

        Assert.Equal(before, File.ReadAllBytes(image));
    }

    [Fact]
    public void An_image_that_may_not_be_read_is_refused()
    {
        string image = _folder.WriteImage("secret.img", 2 << 20);
        File.SetUnixFileMode(image, UnixFileMode.None);

        using BlkringProcess blkring = BlkringProcess.RunWithoutPrivilege(_folder.Path, "demo", "--image", image);

        AssertOneLine(blkring, "cannot be read: EACCES");
        Assert.Equal(2, blkring.ExitCode);
    }

    [Fact]
    public void A_temporary_folder_that_is_missing_is_reported_in_one_line()
    {
        using BlkringProcess blkring = BlkringProcess.Run(_folder.PathOf("missing"), "demo", "--seconds", "0.1");

        AssertOneLine(blkring, "set TMPDIR");
        Assert.Equal(2, blkring.ExitCode);
    }

    private void AssertImageRefused(string image, string expected)
    {
        AssertRefused(expected, "demo", "--image", image);
        AssertRefused(expected, "demo", "--image", image, "--write");
        AssertRefused(expected, "demo", "--image", image, "--json", "--processes", "2");
    }

    private void AssertRefused(string expected, params string[] arguments)
    {
        using BlkringProcess blkring = BlkringProcess.Run(_folder.Path, arguments);

        AssertOneLine(blkring, expected);
        Assert.Equal(2, blkring.ExitCode);
    }

    private static void AssertOneLine(BlkringProcess blkring, string expected)
    {
        Assert.Equal("", blkring.Output);
        string line = Assert.Single(blkring.ErrorLines);
        Assert.StartsWith("blkring: ", line, StringComparison.Ordinal);
        Assert.Contains(expected, line, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", line, StringComparison.Ordinal);
    }
}
