using System.Text.Json;

namespace Blkring.Integration.Tests;

/// <summary><c>blkring serve</c> as a process, against a real xenstored.</summary>
public sealed class DaemonTests(DaemonHost host) : IClassFixture<DaemonHost>
{
    [Fact]
    public void It_tells_systemd_when_it_is_ready_that_it_lives_and_that_it_stops()
    {
        string path = Path.Combine(host.Folder, "notify");
        using NotifySocket systemd = new(path);
        using BlkringProcess daemon = host.StartWith(
            [("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "400000"), ("JOURNAL_STREAM", "8:1")],
            "serve"
        );

        Assert.Equal("READY=1\nSTATUS=serving vbd3: 0 devices", systemd.WaitFor("READY=1"));
        systemd.WaitFor("WATCHDOG=1");
        systemd.WaitFor("WATCHDOG=1");
        daemon.Signal(BlkringProcess.SigTerm);
        systemd.WaitFor("STOPPING=1");
        daemon.WaitForExit();

        Assert.Equal((0, ""), (daemon.ExitCode, daemon.Output));
        Assert.All(daemon.ErrorLines, line => Assert.Matches("^<6>[^0-9]", line));
        Assert.False(File.Exists(host.ControlSocket));
        File.Delete(path);
    }

    [Fact]
    public void A_disk_is_attached_listed_and_detached()
    {
        string image = host.NewImage("disk.img", 1 << 20);
        using BlkringProcess daemon = host.StartDaemon();

        using BlkringProcess attach = host.Run("attach", "7/xvda", image);
        Assert.Equal((0, "", ""), (attach.ExitCode, attach.Output, attach.Errors));
        Assert.Equal("2", host.BackendState("7/51712"));

        using BlkringProcess again = host.Run("attach", "7/51712", image);
        Assert.Equal((2, "blkring: 7/51712 is already attached: detach it first\n"), (again.ExitCode, again.Errors));

        JsonElement device = Assert.Single(
            JsonDocument.Parse(host.Run("list", "--json").Output).RootElement.EnumerateArray()
        );
        Assert.Equal(
            ("7/51712", "xvda", "initwait", 1 << 20),
            (
                device.GetProperty("device").GetString(),
                device.GetProperty("name").GetString(),
                device.GetProperty("state").GetString(),
                device.GetProperty("capacityBytes").GetInt32()
            )
        );
        Assert.Matches($"7/51712 +xvda +initwait .* 1 MiB +w .*{image}", host.Run("list").Output);
        Assert.Contains("no device is connected", host.Run("stats", "7/xvda").Output, StringComparison.Ordinal);
        AssertRefused("the daemon has no device 7/51728", "stats", "7/xvdb");
        AssertRefused("there is no device 7/51728", "pause", "7/xvdb");
        AssertRefused("neither a CD-ROM nor removable", "eject", "7/xvda");

        using BlkringProcess detach = host.Run("detach", "7/xvda");
        Assert.Equal((0, ""), (detach.ExitCode, detach.Errors));
        Assert.Null(host.Store.Directory("/local/domain/0/backend/vbd3/7"));
        Assert.Null(host.Store.Read("/local/domain/7/device/vbd/51712/state"));
        AssertRefused("is not attached", "detach", "7/xvda");
        Stop(daemon);
        Assert.Equal("no devices\n", ListAfterRestart());
    }

    [Fact]
    public void Limits_are_configured_shown_changed_and_lifted_while_the_daemon_runs()
    {
        using BlkringProcess daemon = host.StartDaemon(("BLKRING_IOPS", "500"), ("BLKRING_IOPSBURST", "9"));
        using BlkringProcess attach = host.Run("attach", "7/xvda", host.NewImage("limited.img", 1 << 20));
        Assert.Equal((0, ""), (attach.ExitCode, attach.Errors));
        Assert.Equal((500, 9, 0, 0), Limits());

        Change("--bandwidth", "200M/s", "--bandwidth-burst", "1M");
        Assert.Equal((500, 9, 200 << 20, 1 << 20), Limits());
        Assert.Contains(
            "7/51712: at most 500 requests/s and 9 at once, 200 MiB/s and 1 MiB at once\n",
            host.Run("list").Output,
            StringComparison.Ordinal
        );
        Change("--iops", "0");
        Assert.Equal((0, 9, 200 << 20, 1 << 20), Limits());
        Change("--none");
        Assert.Null(Limits());
        AssertRefused("give limits, such as", "limit", "7/xvda");
        AssertRefused("give limits, such as", "limit", "7/xvda", "--none", "--iops", "5");
        AssertRefused("--iops many: give a whole number", "limit", "7/xvda", "--iops", "many");
        AssertRefused("--bandwidth 1Z: give a number of bytes", "limit", "7/xvda", "--bandwidth", "1Z");
        AssertRefused("there is no device 7/51728", "limit", "7/xvdb", "--iops", "5");
        using BlkringProcess detach = host.Run("detach", "7/xvda");
        Stop(daemon);

        void Change(params string[] limits)
        {
            using BlkringProcess limit = host.Run(["limit", "7/xvda", .. limits]);
            Assert.Equal((0, "", ""), (limit.ExitCode, limit.Output, limit.Errors));
        }

        (int, int, int, int)? Limits()
        {
            JsonElement limits = JsonDocument
                .Parse(host.Run("stats", "7/xvda", "--json").Output)
                .RootElement[0]
                .GetProperty("limits");
            return limits.ValueKind == JsonValueKind.Null
                ? null
                : (
                    limits.GetProperty("iops").GetInt32(),
                    limits.GetProperty("iopsBurst").GetInt32(),
                    limits.GetProperty("bytesPerSecond").GetInt32(),
                    limits.GetProperty("bytesBurst").GetInt32()
                );
        }
    }

    [Fact]
    public void Each_device_is_served_as_it_is_configured()
    {
        using BlkringProcess daemon = host.StartDaemon(
            ("BLKRING_GRANTS", "persistent"),
            ("BLKRING_Devices__7/xvdb__Grants", "map"),
            ("BLKRING_Devices__7/xvdd__Lock", "no")
        );
        string image = host.NewImage("shared.img", 1 << 20);
        foreach (string device in (string[])["7/xvdb", "7/xvdc", "7/xvdd"])
        {
            using BlkringProcess attach = host.Run("attach", device, image);
            Assert.Equal((0, ""), (attach.ExitCode, attach.Errors));
        }

        Assert.Equal((null, "1"), (KeyOf(51728), KeyOf(51744)));
        // The first has the lock, the second waits for it, the third does not lock.
        Assert.Equal("51744", Assert.Single(WaitForTheImage()));
        foreach (string device in (string[])["7/xvdb", "7/xvdc", "7/xvdd"])
        {
            using BlkringProcess detach = host.Run("detach", device);
            Assert.Equal((0, ""), (detach.ExitCode, detach.Errors));
        }
        Stop(daemon);

        string? KeyOf(int device) => host.Store.Read($"/local/domain/0/backend/vbd3/7/{device}/feature-persistent");

        string[] WaitForTheImage() =>
            [
                .. JsonDocument
                    .Parse(host.Run("list", "--json").Output)
                    .RootElement.EnumerateArray()
                    .Where(device =>
                        device.GetProperty("error").GetString()?.Contains("is in use", StringComparison.Ordinal) == true
                    )
                    .Select(device => device.GetProperty("device").GetString()![2..]),
            ];
    }

    [Fact]
    public void Journals_have_a_folder_of_their_own_that_is_cleared_of_devices_that_are_gone()
    {
        string folder = Path.Combine(host.Runtime, "journal", "vbd3"),
            stale = Path.Combine(folder, "backend-vbd3-9-51712-0");
        using (BlkringProcess first = host.StartDaemon())
            Stop(first);
        Assert.Equal(
            UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute,
            File.GetUnixFileMode(folder)
        );
        File.WriteAllText(stale, "");
        using (BlkringProcess next = host.StartDaemon())
        {
            Assert.False(File.Exists(stale));
            Stop(next);
        }
        Assert.True(Directory.Exists(folder));
    }

    [Fact]
    public void An_image_that_cannot_be_served_is_refused_with_the_daemons_words_and_leaves_nothing_behind()
    {
        using BlkringProcess daemon = host.StartDaemon();

        using BlkringProcess attach = host.Run("attach", "7/xvdb", host.NewImage("empty.img", 0));

        Assert.Equal(1, attach.ExitCode);
        Assert.Contains("7/51728 cannot be served: ", Assert.Single(attach.ErrorLines), StringComparison.Ordinal);
        Assert.Contains("empty.img", attach.Errors, StringComparison.Ordinal);
        Assert.Null(host.BackendState("7/51728"));
        Stop(daemon);
    }

    [Fact]
    public void A_drive_is_attached_empty_and_gets_its_disc_later()
    {
        string disc = host.NewImage("disc.iso", 1 << 20);
        using BlkringProcess daemon = host.StartDaemon();
        AssertRefused("only a CD-ROM drive (--cdrom) may be empty", "attach", "7/xvdd");

        using BlkringProcess attach = host.Run("attach", "7/xvdd", "--cdrom");
        Assert.Equal((0, "", ""), (attach.ExitCode, attach.Output, attach.Errors));
        Assert.Matches("7/51760 +xvdd +initwait .* r .*no medium", host.Run("list").Output);
        AssertRefused("does not exist", "insert", "7/xvdd", disc + ".no");
        using BlkringProcess insert = host.Run("insert", "7/xvdd", disc);
        Assert.Equal((0, ""), (insert.ExitCode, insert.Errors));
        Assert.Equal("aio:" + disc, host.Store.Read("/local/domain/0/backend/vbd3/7/51760/params"));

        using BlkringProcess detach = host.Run("detach", "7/xvdd");
        Assert.Equal((0, ""), (detach.ExitCode, detach.Errors));
        Stop(daemon);
    }

    [Fact]
    public void Without_a_daemon_commands_say_how_to_start_one()
    {
        AssertRefused("no daemon answers on", "list");
        AssertRefused("'systemctl start blkring'", "stats");
        AssertRefused("there is no domain 8", "attach", "8/xvda", host.NewImage("lone.img", 512));
        AssertRefused("does not exist", "attach", "7/xvda", "/nowhere/disk.img");
        AssertRefused("'xvda' is not a device", "resize", "xvda");
        AssertRefused("'20X' is not a size", "resize", "7/xvda", "20X");
    }

    [Fact]
    public void A_second_daemon_on_the_same_directory_is_refused_and_one_for_a_single_domain_too()
    {
        using BlkringProcess daemon = host.StartDaemon();

        using BlkringProcess second = host.Run("serve"),
            single = host.Run("serve", "--frontend", "7");

        Assert.Equal(
            (
                2,
                $"blkring: another daemon (process {daemon.Id}) serves vbd3: "
                    + "stop it, or choose with --backend or --frontend\n"
            ),
            (second.ExitCode, second.Errors)
        );
        Assert.Equal(2, single.ExitCode);
        Assert.Equal(0, host.Run("list").ExitCode);
        Stop(daemon);
    }

    [Fact]
    public void A_control_socket_that_cannot_be_had_is_told_before_any_device_is_touched()
    {
        string image = host.NewImage("untouched.img", 1 << 20);
        using BlkringProcess daemon = host.StartDaemon(),
            attach = host.Run("attach", "7/xvda", image);
        Stop(daemon);
        host.Store.Write("/local/domain/0/backend/vbd3/7/51712/state", "1");

        using BlkringProcess refused = host.Run("serve", "--control-socket", "/nowhere/x.sock");

        Assert.Equal(
            (
                2,
                "blkring: the control socket /nowhere/x.sock cannot be created: its folder does not exist; "
                    + "choose another with --control-socket\n"
            ),
            (refused.ExitCode, refused.Errors)
        );
        Assert.Equal("1", host.BackendState("7/51712"));
        using BlkringProcess next = host.StartDaemon(),
            detach = host.Run("detach", "7/xvda");
        Assert.Equal((0, ""), (detach.ExitCode, detach.Errors));
        Stop(next);
    }

    [Fact]
    public void Daemons_for_one_domain_each_share_a_directory()
    {
        using BlkringProcess seventh = host.Start("serve", "--frontend", "7"),
            eighth = host.Start("serve", "--frontend", "8");
        Wait.Until(
            () =>
                host.Run("list", "--frontend", "7").ExitCode == 0 && host.Run("list", "--frontend", "8").ExitCode == 0,
            () => seventh.Errors + eighth.Errors
        );

        using BlkringProcess again = host.Run("serve", "--frontend", "8"),
            whole = host.Run("serve");

        Assert.Contains($"(process {eighth.Id}) serves domain 8 of vbd3", again.Errors, StringComparison.Ordinal);
        Assert.Equal((2, 2), (again.ExitCode, whole.ExitCode));
        Stop(seventh);
        Stop(eighth);
    }

    [Fact]
    public void What_a_killed_daemon_left_does_not_keep_the_next_from_starting()
    {
        using BlkringProcess killed = host.StartDaemon();
        killed.Signal(BlkringProcess.SigKill);
        killed.WaitForExit();
        Assert.True(File.Exists(host.ControlSocket));

        using BlkringProcess next = host.StartDaemon();

        Stop(next);
    }

    [Fact]
    public void A_store_that_is_missing_is_told_in_one_line() =>
        AssertUnavailable("start xenstored", ("XENSTORED_PATH", "/nowhere/socket"), "serve");

    [Fact]
    public void Attach_says_the_same() =>
        AssertUnavailable(
            "start xenstored",
            ("XENSTORED_PATH", "/nowhere/socket"),
            "attach",
            "7/xvda",
            host.NewImage("unserved.img", 512)
        );

    [Theory]
    [InlineData("libxenevtchn.so.1", "libxenevtchn1")]
    [InlineData("libxengnttab.so.1", "libxengnttab1")]
    [InlineData("libxenstore.so.4", "libxenstore4")]
    public void A_library_that_is_missing_is_told_by_its_package(string library, string package)
    {
        // The loader finds this file first and cannot load it, which it treats as an absent library.
        string folder = Directory.CreateDirectory(Path.Combine(host.Folder, "without-" + library)).FullName;
        foreach (string other in Directory.GetFiles(host.Libraries))
            File.Copy(other, Path.Combine(folder, Path.GetFileName(other)));
        File.WriteAllText(Path.Combine(folder, library), "");

        AssertUnavailable(package, ("LD_LIBRARY_PATH", folder), "serve");
    }

    private string ListAfterRestart()
    {
        using BlkringProcess daemon = host.StartDaemon();
        string list = host.Run("list").Output;
        Stop(daemon);
        return list;
    }

    private static void Stop(BlkringProcess daemon)
    {
        daemon.Signal(BlkringProcess.SigTerm);
        daemon.WaitForExit();
        Assert.Equal((0, ""), (daemon.ExitCode, daemon.Output));
    }

    private void AssertRefused(string expected, params string[] arguments)
    {
        using BlkringProcess blkring = host.Run(arguments);
        Assert.Equal((2, ""), (blkring.ExitCode, blkring.Output));
        Assert.Contains(expected, Assert.Single(blkring.ErrorLines), StringComparison.Ordinal);
    }

    private void AssertUnavailable(string expected, (string, string) environment, params string[] arguments)
    {
        using BlkringProcess blkring = host.StartWith([environment], arguments);
        blkring.WaitForExit();
        Assert.Equal((3, ""), (blkring.ExitCode, blkring.Output));
        string line = Assert.Single(blkring.ErrorLines);
        Assert.StartsWith("blkring: ", line, StringComparison.Ordinal);
        Assert.Contains(expected, line, StringComparison.Ordinal);
    }
}
