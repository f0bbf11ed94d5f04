namespace Blkring.Integration.Tests;

/// <summary>packaging/hotplug/block-blkring with a folder in place of xenstore: each file is a key.</summary>
public sealed class HotplugScriptTests : IDisposable
{
    private const string Device = "backend/vbd3/7/51712";

    private readonly TempDirectory _folder = new();

    public HotplugScriptTests()
    {
        Directory.CreateDirectory(Store(Device));
        Directory.CreateDirectory(_folder.PathOf("bin"));
        WriteTool("xenstore-read", "cat \"$STORE/$1\"");
        WriteTool("xenstore-write", "while [ $# -gt 0 ]; do printf %s \"$2\" >\"$STORE/$1\"; shift 2; done");
        // Sleeps are counted instead of done.
        WriteTool(
            "sleep",
            "echo \"$1\" >>\"$STORE/slept\"; [ ! -e \"$STORE/then\" ] || cat \"$STORE/then\" >\"$STORE/"
                + Device
                + "/state\""
        );
    }

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("2")]
    [InlineData("3")]
    [InlineData("4")]
    public void A_device_that_is_served_is_well_at_once_and_again(string state)
    {
        Write("state", state);

        Assert.Equal((0, ""), Run("add"));
        Assert.Equal((0, ""), Run("add"));
        Assert.False(File.Exists(Store("slept")));
        Assert.False(File.Exists(Store(Device + "/hotplug-error")));
    }

    [Fact]
    public void A_device_that_was_refused_is_refused_with_the_daemons_words()
    {
        Write("state", "5");
        Directory.CreateDirectory(Store("error/" + Device));
        File.WriteAllText(Store("error/" + Device + "/error"), "/images/a.img does not exist");

        Assert.Equal((1, "block-blkring: /images/a.img does not exist\n"), Run("add"));
        Assert.Equal("/images/a.img does not exist", File.ReadAllText(Store(Device + "/hotplug-error")));
    }

    [Fact]
    public void A_device_that_never_began_is_refused_with_the_daemons_words()
    {
        Write("state", "2");
        Write("hotplug-error", "/images/a.img does not exist");

        Assert.Equal((1, "block-blkring: /images/a.img does not exist\n"), Run("add"));
        Assert.Equal("error", File.ReadAllText(Store(Device + "/hotplug-status")));
    }

    [Fact]
    public void Without_the_daemons_words_it_says_where_they_are()
    {
        Write("state", "6");

        Assert.Contains("journalctl -u blkring", Run("add").Errors, StringComparison.Ordinal);
    }

    [Fact]
    public void A_device_that_nobody_takes_is_refused_after_a_while()
    {
        Write("state", "1");

        Assert.Equal(
            (1, "block-blkring: no daemon serves backend/vbd3: start it with 'systemctl start blkring'\n"),
            Run("add")
        );
        Assert.Equal(5, File.ReadAllLines(Store("slept")).Length);
    }

    [Fact]
    public void A_device_that_is_taken_late_is_well()
    {
        Write("state", "1");
        File.WriteAllText(Store("then"), "2");

        Assert.Equal((0, ""), Run("add"));
        Assert.Single(File.ReadAllLines(Store("slept")));
    }

    [Fact]
    public void A_device_that_is_gone_is_not_made_again()
    {
        Directory.Delete(Store(Device));

        Assert.Equal(1, Run("add").ExitCode);
        Assert.Equal((0, ""), Run("remove"));
        Assert.Equal((0, ""), Run("remove"));
        Assert.False(Directory.Exists(Store(Device)));
    }

    [Theory]
    [InlineData("", "'' is not known: give add or remove")]
    [InlineData("online", "'online' is not known")]
    public void Another_word_is_refused(string word, string expected)
    {
        (int code, string errors) = Run(word);
        Assert.Equal(1, code);
        Assert.Contains(expected, errors, StringComparison.Ordinal);
    }

    private string Store(string key) => _folder.PathOf("store/" + key);

    private void Write(string key, string value) => File.WriteAllText(Store($"{Device}/{key}"), value);

    private void WriteTool(string name, string body)
    {
        File.WriteAllText(_folder.PathOf("bin/" + name), "#!/bin/sh\n" + body + "\n");
        File.SetUnixFileMode(_folder.PathOf("bin/" + name), UnixFileMode.UserRead | UnixFileMode.UserExecute);
    }

    private (int ExitCode, string Errors) Run(string word)
    {
        ProgramResult script = Programs.Run(
            Repository.PathOf("packaging/hotplug/block-blkring"),
            [word],
            environment:
            [
                ("PATH", _folder.PathOf("bin") + ":" + Environment.GetEnvironmentVariable("PATH")),
                ("STORE", _folder.PathOf("store")),
                ("XENBUS_PATH", Device),
            ]
        );
        return (script.ExitCode, script.Errors);
    }
}
