namespace Blkring.Integration.Tests;

/// <summary>What systemd tells of how the daemon ended, for the next one: <c>blkring note-crash</c>.</summary>
public sealed class NoteCrashTests : IDisposable
{
    private readonly TempDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("SEGV", true)]
    [InlineData("ABRT", true)]
    [InlineData("KILL", false)]
    [InlineData("TERM", false)]
    [InlineData("0", false)]
    [InlineData("", false)]
    public void Only_a_signal_of_a_crash_leaves_a_note(string status, bool isCrash)
    {
        string journals = _folder.PathOf("journal/vbd3");
        Directory.CreateDirectory(journals);
        using BlkringProcess blkring = BlkringProcess.RunWith(
            [("RUNTIME_DIRECTORY", _folder.Path), ("EXIT_STATUS", status)],
            _folder.Path,
            "note-crash"
        );
        Assert.Equal((0, "", ""), (blkring.ExitCode, blkring.Output, blkring.Errors));
        Assert.Equal(isCrash, File.Exists(Path.Combine(journals, "crashed")));
    }

    [Fact]
    public void Without_journals_there_is_nothing_to_note()
    {
        using BlkringProcess blkring = BlkringProcess.RunWith(
            [("RUNTIME_DIRECTORY", _folder.PathOf("none")), ("EXIT_STATUS", "SEGV")],
            _folder.Path,
            "note-crash"
        );
        Assert.Equal((0, "", ""), (blkring.ExitCode, blkring.Output, blkring.Errors));
    }
}
