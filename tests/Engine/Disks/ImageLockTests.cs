using System.Diagnostics;
using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Tests.Kit;
using Blkring.Interop;
using Microsoft.Extensions.Time.Testing;

namespace Blkring.Engine.Tests.Disks;

/// <summary>An image has one writer or any number of readers. A lock that waits is granted once they leave.</summary>
public sealed class ImageLockTests
{
    private static readonly TimeSpan s_atOnce = TimeSpan.Zero;

    [Theory]
    [InlineData(CacheMode.None)]
    [InlineData(CacheMode.Writeback)]
    [InlineData(CacheMode.Writethrough)]
    public void A_second_writer_is_refused_in_one_line_that_says_what_to_do(CacheMode cache)
    {
        using TempImage image = new(8);
        using FileDisk first = image.Open(cache: cache);
        ImageException error = Assert.Throws<ImageException>(() => Open(image, writable: true, cache));
        Assert.Equal(ErrorCode.ImageInUse, error.Code);
        Assert.All(
            [image.Path, "is in use", "lsof", "read-only", "turn image locking off"],
            word => Assert.Contains(word, error.Message, StringComparison.Ordinal)
        );
        Assert.DoesNotContain('\n', error.Message);
    }

    [Fact]
    public void Readers_share_an_image_but_not_with_a_writer()
    {
        using TempImage image = new(8);
        using (
            FileDisk first = image.Open(writable: false),
                second = Open(image, writable: false)
        )
            Assert.Equal(ErrorCode.ImageInUse, Assert.Throws<ImageException>(() => Open(image, writable: true)).Code);
        using FileDisk writer = Open(image, writable: true);
        Assert.Contains(
            "is being written",
            Assert.Throws<ImageException>(() => Open(image, writable: false)).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void Who_shares_on_purpose_neither_asks_nor_holds()
    {
        using TempImage image = new(8);
        using FileDisk locked = image.Open();
        using FileDisk shared = FileDisk.Open(image.Path, new FileDiskOptions { Writable = true, Lock = false });
        Assert.False(shared.ReadOnly);
        locked.Dispose();
        using FileDisk next = Open(image, writable: true);
    }

    [Fact]
    public void A_disk_that_was_opened_without_it_can_take_the_lock_later_and_twice()
    {
        using TempImage image = new(8);
        FileDisk first = image.Open();
        using FileDisk second = FileDisk.Open(image.Path, new FileDiskOptions { Writable = true, Lock = false });
        Assert.Equal(ErrorCode.ImageInUse, Assert.Throws<ImageException>(() => second.Lock(s_atOnce)).Code);
        first.Dispose();
        second.Lock(s_atOnce);
        second.Lock(s_atOnce);
        Assert.Throws<ImageException>(() => Open(image, writable: true));
    }

    [Fact]
    public void Closing_lets_go_also_while_a_ring_still_knows_the_file()
    {
        using TempImage image = new(8);
        FileDisk disk = image.Open();
        // Another reference to the same open file, such as a ring's table of files holds.
        using FileDescriptor other = Duplicate(image.Path);
        disk.Dispose();
        Open(image, writable: true).Dispose();
    }

    [Fact]
    public void Who_waits_gets_the_image_when_another_process_is_done_with_it()
    {
        using TempImage image = new(8);
        // flock of util-linux holds it for a moment, and says when it does.
        using Process holder = Process.Start(
            new ProcessStartInfo("flock", ["--exclusive", image.Path, "sh", "-c", "echo held; sleep 0.5"])
            {
                RedirectStandardOutput = true,
            }
        )!;
        Assert.Equal("held", holder.StandardOutput.ReadLine());
        Assert.Throws<ImageException>(() => Open(image, writable: true));
        long start = Stopwatch.GetTimestamp();
        using FileDisk disk = FileDisk.Open(
            image.Path,
            new FileDiskOptions { Writable = true, LockTimeout = TimeSpan.FromSeconds(30) }
        );
        Assert.InRange(Stopwatch.GetElapsedTime(start).TotalSeconds, 0.05, 29);
        Assert.True(holder.WaitForExit(Wait.LimitMs));
    }

    [Fact]
    public void The_wait_for_a_lock_is_by_the_clock_and_the_sleep_that_are_given()
    {
        using TempImage image = new(8);
        FileDisk first = image.Open();
        FakeTimeProvider time = new();
        DateTimeOffset start = time.GetUtcNow();
        FileDiskOptions options = new()
        {
            Writable = true,
            LockTimeout = TimeSpan.FromSeconds(30),
            Time = time,
            Sleep = time.Advance,
        };
        Assert.Equal(
            ErrorCode.ImageInUse,
            Assert.Throws<ImageException>(() => FileDisk.Open(image.Path, options)).Code
        );
        Assert.Equal(TimeSpan.FromSeconds(30), time.GetUtcNow() - start);
        first.Dispose();
        FileDisk.Open(image.Path, options).Dispose();
        Assert.Equal(TimeSpan.FromSeconds(30), time.GetUtcNow() - start);
    }

    [Theory]
    [InlineData(Errno.ENOSYS)]
    [InlineData(Errno.EOPNOTSUPP)]
    [InlineData(Errno.EINVAL)]
    public void On_a_file_system_without_locks_nothing_is_locked_and_that_is_said(int errno)
    {
        using TempImage image = new(8);
        ScriptedCalls calls = new();
        calls.LockErrors.Enqueue(errno);
        using FileDisk disk = FileDisk.Open(
            image.Path,
            new FileDiskOptions
            {
                Writable = true,
                Calls = calls,
                Opener = calls,
            }
        );
        Assert.Equal((ImageLock.None, 1), (disk.HeldLock, calls.Locks));
    }

    [Theory]
    [InlineData(Errno.ENOLCK)]
    [InlineData(Errno.EIO)]
    [InlineData(Errno.ESTALE)]
    [InlineData(Errno.EBADF)]
    public void An_error_that_says_nothing_about_locks_does_not_count_as_locked(int errno)
    {
        using TempImage image = new(8);
        ScriptedCalls calls = new();
        calls.LockErrors.Enqueue(errno);
        FakeTimeProvider time = new();
        FileDiskOptions options = new()
        {
            Writable = true,
            Calls = calls,
            Opener = calls,
            Time = time,
            Sleep = time.Advance,
        };
        ImageException error = Assert.Throws<ImageException>(() => FileDisk.Open(image.Path, options));
        Assert.Equal((ErrorCode.ImageNotLocked, errno), (error.Code, error.Error.Errno));
        Assert.All(
            [image.Path, "cannot be locked", Errno.Describe(errno), "turn image locking off"],
            word => Assert.Contains(word, error.Message, StringComparison.Ordinal)
        );
        Assert.InRange(calls.Locks, 2, int.MaxValue);
    }

    [Fact]
    public void A_lock_that_is_refused_for_a_while_is_tried_again_until_it_is_held()
    {
        using TempImage image = new(8);
        ScriptedCalls calls = new();
        foreach (int errno in (int[])[Errno.ENOLCK, Errno.EINTR, Errno.EAGAIN, 0])
            calls.LockErrors.Enqueue(errno);
        FakeTimeProvider time = new();
        using FileDisk disk = FileDisk.Open(
            image.Path,
            new FileDiskOptions
            {
                Writable = true,
                Calls = calls,
                Opener = calls,
                Time = time,
                Sleep = time.Advance,
            }
        );
        Assert.Equal((ImageLock.Exclusive, 4), (disk.HeldLock, calls.Locks));
    }

    [Theory]
    [InlineData(true, ImageLock.Exclusive)]
    [InlineData(false, ImageLock.Shared)]
    public void Which_lock_is_held_is_known(bool writable, ImageLock held)
    {
        using TempImage image = new(8);
        using (FileDisk locked = Open(image, writable))
            Assert.Equal(held, locked.HeldLock);
        using FileDisk shared = FileDisk.Open(image.Path, new FileDiskOptions { Writable = writable, Lock = false });
        Assert.Equal(ImageLock.NotYet, shared.HeldLock);
        shared.Lock(s_atOnce);
        Assert.Equal(held, shared.HeldLock);
    }

    private static FileDisk Open(TempImage image, bool writable, CacheMode cache = CacheMode.None) =>
        FileDisk.Open(
            image.Path,
            new FileDiskOptions
            {
                Writable = writable,
                Cache = cache,
                LockTimeout = s_atOnce,
            }
        );

    /// <summary>A second descriptor for what this process has open at that path.</summary>
    private static FileDescriptor Duplicate(string path)
    {
        string link = Directory.GetFiles("/proc/self/fd").First(link => new FileInfo(link).LinkTarget == path);
        return new FileDescriptor(
            Libc.Dup(int.Parse(Path.GetFileName(link), System.Globalization.CultureInfo.InvariantCulture))
        );
    }
}
