using System.Globalization;
using System.Text.RegularExpressions;

namespace Blkring.Integration.Tests;

/// <summary>
/// What is installed on a host: the installer, the unit, the scripts, and the document about them.
/// </summary>
public sealed class PackagingTests : IDisposable
{
    private static readonly string[] s_scripts = ["packaging/install", "packaging/hotplug/block-blkring"];

    private readonly TempDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void It_installs_twice_keeps_the_configuration_and_leaves_nothing_else_behind()
    {
        Install();
        string config = Installed("etc/blkring/blkring.json");
        File.WriteAllText(config, """{ "Cache": "writeback" }""");
        Install();

        Assert.Equal("""{ "Cache": "writeback" }""", File.ReadAllText(config));
        Assert.Equal("/opt/blkring/lib/blkring/blkring", new FileInfo(Installed("opt/blkring/bin/blkring")).LinkTarget);
        Assert.Contains(
            "\nExecStart=/opt/blkring/bin/blkring serve\n",
            File.ReadAllText(Installed("etc/systemd/system/blkring.service")),
            StringComparison.Ordinal
        );
        Assert.True(
            File.GetUnixFileMode(Installed("etc/xen/scripts/block-blkring")).HasFlag(UnixFileMode.OtherExecute)
        );
        (int code, string output, _) = Run(
            Installed("opt/blkring/lib/blkring/blkring"),
            "serve",
            "--check-config",
            "--config",
            config
        );
        Assert.Equal(0, code);
        Assert.Matches("Cache +writeback +file", output);

        Assert.Equal(0, Installer("--uninstall").Code);
        Assert.Equal([config], Directory.GetFiles(Installed(""), "*", SearchOption.AllDirectories));
    }

    [Theory]
    [InlineData("--wrong", "'--wrong' is not known")]
    [InlineData("--from", "--from needs a folder")]
    [InlineData("--from /nowhere", "has no blkring")]
    public void The_installer_refuses_what_makes_no_sense(string arguments, string expected)
    {
        (int code, _, string errors) = Installer(arguments.Split(' '));

        Assert.Equal(2, code);
        Assert.Contains(expected, errors, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Installed("")));
    }

    [Fact]
    public void systemd_finds_no_fault_with_the_unit_and_its_drop_ins()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/systemd-analyze"), "systemd-analyze is not installed");
        string[] units = WriteUnits();
        foreach (
            (string unit, string dropIn) in ((string, string)[])
                [(units[0], "driver-domain.conf"), (units[1], "images.conf")]
        )
        {
            Directory.CreateDirectory(unit + ".d");
            File.Copy(Path.Combine(Repository.Root, "packaging/systemd", dropIn), Path.Combine(unit + ".d", dropIn));
        }

        (int code, string output, string errors) = Run("systemd-analyze", ["verify", .. units]);

        // Its output about other units of the machine does not matter here.
        Assert.DoesNotContain("blkring", output + errors, StringComparison.Ordinal);
        Assert.Equal(0, code);
    }

    [Fact]
    public void systemd_finds_little_that_an_attacker_of_the_units_could_use()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/systemd-analyze"), "systemd-analyze is not installed");
        foreach (string unit in WriteUnits()[..2])
        {
            (_, string output, _) = Run("systemd-analyze", "security", "--offline=yes", "--no-pager", unit);
            string level = Regex.Match(output, @"exposure level for [\w.-]+: ([0-9.]+)").Groups[1].Value;
            Assert.InRange(double.Parse(level, CultureInfo.InvariantCulture), 0.1, 1.0);
        }
    }

    [Fact]
    public void Folders_that_an_older_units_drop_in_lists_become_the_openers()
    {
        string old = Installed("etc/systemd/system/blkring.service.d/images.conf");
        Directory.CreateDirectory(Path.GetDirectoryName(old)!);
        File.WriteAllText(old, "[Service]\nReadWritePaths=/data/images -/data/more\nProtectHome=no\n");
        Install();
        string dropIn = Installed("etc/systemd/system/blkring-opener.service.d/images.conf"),
            made = File.ReadAllText(dropIn);
        Assert.Contains(
            "\nEnvironment=BLKRING_IMAGE_FOLDERS=/var/lib/xen/images:/srv/xen:/dev:/data/images:/data/more\n",
            made,
            StringComparison.Ordinal
        );
        Assert.Contains("\nReadWritePaths=/data/images -/data/more", made, StringComparison.Ordinal);
        Assert.Contains("\nProtectHome=no\n", made, StringComparison.Ordinal);
        // What an administrator writes there stays.
        File.WriteAllText(dropIn, "");
        Install();
        Assert.Equal("", File.ReadAllText(dropIn));
    }

    [Fact]
    public void The_scripts_are_clean_and_executable()
    {
        foreach (string script in s_scripts)
            Assert.True(File.GetUnixFileMode(Repository.PathOf(script)).HasFlag(UnixFileMode.UserExecute), script);
        Assert.SkipUnless(File.Exists("/usr/bin/shellcheck"), "shellcheck is not installed");

        (int code, string output, _) = Run("shellcheck", [.. s_scripts.Select(script => Repository.PathOf(script))]);

        Assert.Equal("", output);
        Assert.Equal(0, code);
    }

    [Fact]
    public void What_rings_have_under_way_outlives_a_restart_by_systemd()
    {
        string[] unit = Repository.Read("packaging/systemd/blkring.service").Split('\n');

        Assert.Contains("RuntimeDirectory=" + Path.GetFileName(Settings.RuntimeFolder.Standard), unit);
        Assert.Contains("RuntimeDirectoryPreserve=yes", unit);
    }

    [Fact]
    public void Every_command_and_option_in_the_document_exists()
    {
        string document = Repository.Read("docs/deploy.md");
        string[] calls =
        [
            .. Regex
                .Matches(
                    document,
                    @"\bblkring ((?:serve|list|stats|resize|pause|resume|continue|eject|insert|limit|attach|detach|demo"
                        + @"|opener)\b[^`\n|]*)"
                )
                .Select(call => call.Groups[1].Value),
        ];
        Assert.True(calls.Length > 10, "the document names no commands");
        foreach (IGrouping<string, string> command in calls.GroupBy(call => call.Split(' ')[0]))
        {
            using BlkringProcess help = BlkringProcess.Run(_folder.Path, command.Key, "--help");
            Assert.Equal(0, help.ExitCode);
            foreach (Match option in command.SelectMany(call => Regex.Matches(call, "--[a-z-]+")))
                Assert.Contains(option.Value, help.Output, StringComparison.Ordinal);
        }
        foreach (Match file in Regex.Matches(document, @"packaging/[\w./-]+\w"))
            Assert.True(File.Exists(Repository.PathOf(file.Value)), file.Value);
    }

    [Fact]
    public void Every_key_and_option_of_the_daemon_is_in_the_document()
    {
        string document = Repository.Read("docs/deploy.md");

        Assert.Empty(
            Settings
                .ServeKey.All.Where(key =>
                    !document.Contains($"| `{key.Name}` | `{key.Option}` |", StringComparison.Ordinal)
                )
                .Select(key => key.Name)
        );
    }

    /// <returns>The daemon's unit, the opener's, and its socket.</returns>
    private string[] WriteUnits() =>
        [
            .. ((string[])["blkring.service", "blkring-opener.service", "blkring-opener.socket"]).Select(name =>
            {
                string unit = _folder.PathOf(name);
                File.WriteAllText(
                    unit,
                    Repository
                        .Read("packaging/systemd/" + name)
                        .Replace("@PREFIX@/bin/blkring", Executables.Blkring, StringComparison.Ordinal)
                );
                return unit;
            }),
        ];

    private string Installed(string path) => _folder.PathOf("root/" + path);

    private void Install()
    {
        (int code, string output, string errors) = Installer("--from", Path.GetDirectoryName(Executables.Blkring)!);
        Assert.Equal((0, ""), (code, errors));
        Assert.Contains("systemctl enable --now blkring", output, StringComparison.Ordinal);
    }

    private (int Code, string Output, string Errors) Installer(params string[] arguments) =>
        Run(Repository.PathOf("packaging/install"), arguments);

    private (int Code, string Output, string Errors) Run(string program, params string[] arguments)
    {
        (string, string)[] environment = [("DESTDIR", Installed("").TrimEnd('/')), ("PREFIX", "/opt/blkring")];
        ProgramResult result = Programs.Run(program, arguments, environment: environment);
        return (result.ExitCode, result.Output, result.Errors);
    }
}
