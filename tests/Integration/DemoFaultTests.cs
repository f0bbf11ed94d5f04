using System.Diagnostics;

namespace Blkring.Integration.Tests;

/// <summary>
/// <c>blkring demo</c> when something goes wrong while it runs: it says so, fails, ends, and leaves nothing behind.
/// </summary>
public sealed class DemoFaultTests : IDisposable
{
    private readonly TempDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("1")]
    [InlineData("2")]
    public void Ctrl_C_ends_it_at_once_and_removes_the_image(string processes)
    {
        using BlkringProcess blkring = BlkringProcess.Start(
            _folder.Path,
            "demo",
            "--seconds",
            "60",
            "--processes",
            processes
        );
        blkring.WaitForOutput("engine ");
        if (processes == "2")
            blkring.WaitForChild();

        Stopwatch time = Stopwatch.StartNew();
        blkring.Signal(BlkringProcess.SigInt);
        blkring.WaitForExit();

        Assert.Equal(130, blkring.ExitCode);
        Assert.Equal(["blkring: interrupted"], blkring.ErrorLines);
        Assert.InRange(time.Elapsed.TotalSeconds, 0, 15);
        Assert.True(_folder.HoldsNothingOfBlkring(), "something stays behind");
    }

    [Fact]
    public void Even_killed_it_leaves_no_image()
    {
        using BlkringProcess blkring = BlkringProcess.Start(_folder.Path, "demo", "--seconds", "60");
        blkring.WaitForOutput("engine ");

        blkring.Signal(BlkringProcess.SigKill);
        blkring.WaitForExit();

        Assert.True(_folder.HoldsNothingOfBlkring(), "the image stays behind");
    }

    [Fact]
    public void A_frontend_that_is_killed_is_reported_and_fails_the_demo()
    {
        using BlkringProcess blkring = BlkringProcess.Start(
            _folder.Path,
            "demo",
            "--seconds",
            "60",
            "--processes",
            "2"
        );
        int child = blkring.WaitForChild();
        blkring.WaitForOutput("engine ");
        // The process exists before it has connected, and only a run can be interrupted.
        Thread.Sleep(1500);

        Stopwatch time = Stopwatch.StartNew();
        BlkringProcess.Signal(child, BlkringProcess.SigKill);
        blkring.WaitForExit();

        Assert.Equal(1, blkring.ExitCode);
        Assert.Equal(["blkring: lost the frontend's process: it was killed by signal 9"], blkring.ErrorLines);
        Assert.Contains("FAILED: lost the frontend's process", blkring.Output, StringComparison.Ordinal);
        Assert.InRange(time.Elapsed.TotalSeconds, 0, 15);
        Assert.True(_folder.HoldsNothingOfBlkring(), "something stays behind");
    }

    [Fact]
    public void A_frontend_ends_when_the_demo_is_killed()
    {
        using BlkringProcess blkring = BlkringProcess.Start(
            _folder.Path,
            "demo",
            "--seconds",
            "60",
            "--processes",
            "2"
        );
        int child = blkring.WaitForChild();
        Thread.Sleep(1000);

        blkring.Signal(BlkringProcess.SigKill);
        blkring.WaitForExit();

        Stopwatch time = Stopwatch.StartNew();
        while (IsAlive(child) && time.Elapsed.TotalSeconds < 10)
            Thread.Sleep(50);
        Assert.False(IsAlive(child), "the frontend's process goes on");
    }

    [Fact]
    public void Bytes_that_change_behind_its_back_are_noticed()
    {
        string image = _folder.WriteImage("disk.img", 4 << 20);
        using BlkringProcess blkring = BlkringProcess.Start(
            _folder.Path,
            "demo",
            "--image",
            image,
            "--write",
            "--seconds",
            "60",
            "--abi",
            "x86_32"
        );
        blkring.WaitForOutput("engine ");
        Thread.Sleep(1000);

        byte[] garbage = new byte[4 << 20];
        new Random(8).NextBytes(garbage);
        using (FileStream file = new(image, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            file.Write(garbage);
            file.Flush(flushToDisk: true);
        }
        blkring.WaitForExit();

        Assert.Equal(1, blkring.ExitCode);
        Assert.Contains("does not hold what was written to it last", blkring.Output, StringComparison.Ordinal);
        Assert.Matches(@"\nFAILED: x86_32, [^\n]+\n$", blkring.Output);
    }

    [Fact]
    public void An_image_that_shrinks_fails_the_demo_and_does_not_crash_it()
    {
        string image = _folder.WriteImage("disk.img", 4 << 20);
        using BlkringProcess blkring = BlkringProcess.Start(
            _folder.Path,
            "demo",
            "--image",
            image,
            "--seconds",
            "60",
            "--abi",
            "native"
        );
        blkring.WaitForOutput("engine ");
        Thread.Sleep(1000);

        using (FileStream file = new(image, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
            file.SetLength(0);
        blkring.WaitForExit();

        Assert.Equal(1, blkring.ExitCode);
        // The disk's read fails, or the one that it is compared with, whichever comes first.
        Assert.Matches(@"\nfault: native: Disk|does not hold what", blkring.Output);
        Assert.Contains("\nFAILED: native", blkring.Output, StringComparison.Ordinal);
        Assert.Equal("", blkring.Errors);
    }

    private static bool IsAlive(int process)
    {
        string status = $"/proc/{process}/stat";
        // A zombie has ended; its new parent has not reaped it yet.
        return File.Exists(status) && !File.ReadAllText(status).Contains(") Z ", StringComparison.Ordinal);
    }
}
