using System.Text.Json;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Xenbus;
using Blkring.Settings;

namespace Blkring.Integration.Tests;

/// <summary>
/// <c>blkring serve --check-config</c>: what is in force, where it comes from, and everything that is wrong.
/// </summary>
public sealed class ServeConfigurationTests : IDisposable
{
    private readonly TempDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_option_wins_over_the_environment_which_wins_over_the_file_which_wins_over_the_default()
    {
        string file = Write("""{ "Backend": "qdisk", "Cache": "writeback", "MaxQueues": 2 }""");

        JsonElement report = Check(
            0,
            [("BLKRING_CACHE", "writethrough"), ("BLKRING_MaxQueues", "3")],
            "--config",
            file,
            "--max-queues",
            "8"
        );

        Assert.Equal(("vbd3", "default"), Find(Check(0, [], "--config", Write("{}")), "Backend"));
        Assert.Equal(("qdisk", $"file {file}"), Find(report, "Backend"));
        Assert.Equal(("writethrough", "environment BLKRING_CACHE"), Find(report, "Cache"));
        Assert.Equal(("8", "option --max-queues"), Find(report, "MaxQueues"));
        Assert.Equal(("4", "default"), Find(report, "MaxRingPageOrder"));
    }

    [Fact]
    public void What_a_device_is_served_with_is_its_own_word_and_else_the_daemons()
    {
        string file = Write(
            """
            {
              "Grants": "map", "Iops": 1000, "Bandwidth": "200M", "NativeSectors": "yes",
              "Devices": {
                "7/xvda": {
                  "Grants": "persistent", "Iops": 0, "BandwidthBurst": "1G", "NativeSectors": "no", "Lock": "no"
                }
              }
            }
            """
        );

        ServeSettings settings = ServeConfiguration
            .Load(file, new Dictionary<string, string?> { ["IopsBurst"] = "20" })
            .Settings!;
        DeviceOptions own = settings.OptionsOf(Device("7/51712")),
            other = settings.OptionsOf(Device("7/xvdb"));

        Assert.Equal((GrantMode.Persistent, false, false), (own.GrantMode, own.NativeSectors, own.Lock));
        Assert.Equal(
            new ThrottleLimits
            {
                Iops = 0,
                IopsBurst = 20,
                BytesPerSecond = 200 << 20,
                BytesBurst = 1 << 30,
            },
            own.Limits
        );
        Assert.Equal((GrantMode.Map, true, true), (other.GrantMode, other.NativeSectors, other.Lock));
        Assert.Equal(
            new ThrottleLimits
            {
                Iops = 1000,
                IopsBurst = 20,
                BytesPerSecond = 200 << 20,
            },
            other.Limits
        );
        Assert.Equal(50, settings.Values.Get(ReactorSettings.PollWindowMicroseconds));
    }

    [Fact]
    public void A_device_is_found_by_its_VM_whatever_domain_it_runs_in_and_by_its_image()
    {
        const string Uuid = "5f0c7f4e-0f5c-4d2a-9a77-6b8f0f3f1c11";
        string file = Write(
            $$"""
            {
              "Iops": 1,
              "Devices": {
                "web 1/xvda": { "Iops": 2 },
                "{{Uuid.ToUpperInvariant()}}/xvda": { "Iops": 3 },
                "/images/a/data.img": { "Iops": 4 },
                "9/xvda": { "Iops": 5 }
              }
            }
            """
        );
        ServeConfiguration configuration = ServeConfiguration.Load(file, new Dictionary<string, string?>());
        Assert.Empty(configuration.Problems);
        ServeSettings settings = configuration.Settings!;

        Assert.Equal(1, IopsOf(Device("7/xvda")));
        Assert.Equal(2, IopsOf(Device("7/xvda") with { VmName = "web 1" }));
        Assert.Equal(2, IopsOf(Device("8/xvda") with { VmName = "web 1" }));
        Assert.Equal(1, IopsOf(Device("7/xvdb") with { VmName = "web 1" }));
        Assert.Equal(3, IopsOf(Device("7/xvda") with { VmName = "web 1", VmUuid = Uuid }));
        Assert.Equal(4, IopsOf(Device("7/xvdb") with { VmName = "web 1", ImagePath = "/images/a/data.img" }));
        Assert.Equal(5, IopsOf(Device("9/xvda") with { VmName = "web 1", VmUuid = Uuid }));

        long IopsOf(DeviceIdentity device) => settings.OptionsOf(device).Limits.Iops;
    }

    private static DeviceIdentity Device(string name)
    {
        DeviceName device = DeviceName.Parse(name);
        return new DeviceIdentity(new DeviceId(device.Frontend, device.Number));
    }

    [Fact]
    public void A_device_may_have_settings_of_its_own_from_the_file_and_from_the_environment()
    {
        string file = Write("""{ "Devices": { "7/xvda": { "Cache": "writeback" }, "8/51712": {} } }""");

        JsonElement report = Check(0, [("BLKRING_Devices__7/xvdb__MaxQueues", "2")], "--config", file);

        Assert.Equal(("writeback", $"file {file}"), Find(report, "Devices:7/xvda:Cache"));
        Assert.Equal("2", Find(report, "Devices:7/xvdb:MaxQueues").Value);
    }

    [Theory]
    [InlineData("""{ "Cahce": "none" }""", "Cahce: there is no such key; the nearest is Cache")]
    [InlineData("""{ "max-queues": 4 }""", "the nearest is MaxQueues")]
    [InlineData("""{ "Device": { } }""", "the nearest is Devices")]
    [InlineData(
        """{ "Devices": { "7/xvda": { "Backend": "qdisk" } } }""",
        "Devices:7/xvda:Backend: there is no such key; the nearest is"
    )]
    [InlineData("""{ "Devices": { "xvda": { "Cache": "none" } } }""", "'xvda' is not a device")]
    [InlineData("""{ "Devices": { "7/xvda": "none" } }""", "give \"Devices\": { \"7/xvda\"")]
    [InlineData(
        """{ "Devices": { "7/xvda": { "Cache": "none" }, "7/51712": { "Cache": "none" } } }""",
        "7/51712 and 7/xvda are the same device"
    )]
    [InlineData("""{ "Cache": "all" }""", "Cache: 'all': give none, writeback or writethrough")]
    [InlineData("""{ "Cache": null }""", "Cache: is null: leave it out")]
    [InlineData("""{ "Cache": ["none"] }""", "Cache:0: there is no such key")]
    [InlineData("""{ "MaxQueues": 0 }""", "give a whole number from 1 to 64")]
    [InlineData("""{ "MaxQueues": 1e3 }""", "give a whole number from 1 to 64")]
    [InlineData("""{ "MaxRingPageOrder": 5 }""", "give a whole number from 0 to 4")]
    [InlineData("""{ "MaxIndirectSegments": -1 }""", "give a whole number from 0 to 4096")]
    [InlineData("""{ "Iops": -1 }""", "give a whole number; 0 means no limit")]
    [InlineData("""{ "Bandwidth": "fast" }""", "Bandwidth: 'fast': give a number of bytes such as 200M")]
    [InlineData("""{ "Devices": { "7/xvda": { "BandwidthBurst": "9999999T" } } }""", "give a number of bytes")]
    [InlineData("""{ "Lock": "never" }""", "Lock: 'never': give no or yes")]
    [InlineData("""{ "Grants": "borrow" }""", "give auto, copy, map or persistent")]
    [InlineData("""{ "PollWindowMicroseconds": 20000 }""", "give a whole number from 0 to 10000")]
    [InlineData("""{ "Devices": { "7/xvda": { "PollWindowMicroseconds": 1 } } }""", "there is no such key")]
    [InlineData("""{ "Frontend": 65535 }""", "give a whole number from 0 to 32751")]
    [InlineData("""{ "Backend": "../vbd" }""", "give a name of letters")]
    [InlineData("""{ "ControlSocket": "blkring.sock" }""", "give an absolute path")]
    [InlineData("""{ "Cpus": "3-1" }""", "give CPU numbers and ranges")]
    [InlineData("""{ "Cpus": "8000" }""", "this process may not run on CPU 8000")]
    [InlineData("""{ "IoThreads": 2, "ThreadsPerQueue": "dedicated" }""", "leave one out")]
    [InlineData("""{ "Backend": "vbd3" """, "line 1: ")]
    [InlineData("{\n\n\"Backend\" \"vbd3\" }", "line 3: ")]
    [InlineData("""{ "Backend": "a", "backend": "b" }""", "duplicate key")]
    [InlineData("""["Backend"]""", "must be an object")]
    [InlineData("", "line 1: ")]
    public void A_mistake_in_the_file_is_named_with_its_place_and_what_to_give(string json, string expected)
    {
        string file = Write(json);

        using BlkringProcess blkring = Run([], "--config", file);

        Assert.Equal(2, blkring.ExitCode);
        string line = Assert.Single(blkring.ErrorLines);
        Assert.StartsWith("blkring: ", line, StringComparison.Ordinal);
        Assert.Contains(expected, line, StringComparison.Ordinal);
    }

    [Fact]
    public void All_mistakes_are_told_at_once_and_in_the_report_too()
    {
        string file = Write("""{ "Cahce": "none", "Grants": "borrow" }""");

        using BlkringProcess blkring = Run([("BLKRING_MAXQUEUES", "many")], "--config", file, "--json");

        Assert.Equal((2, 3), (blkring.ExitCode, blkring.ErrorLines.Length));
        Assert.Equal(3, JsonDocument.Parse(blkring.Output).RootElement.GetProperty("problems").GetArrayLength());
        Assert.Contains(
            blkring.ErrorLines,
            line => line.Contains("environment BLKRING_MAXQUEUES: 'many'", StringComparison.Ordinal)
        );
    }

    [Theory]
    [InlineData("--cache all", "--cache all: give none, writeback or writethrough; see 'blkring serve --help'")]
    [InlineData("--frontend xvda", "--frontend xvda: give a whole number")]
    [InlineData("--threads-per-queue 4", "give shared or dedicated")]
    [InlineData("--grants x", "--grants x: give auto")]
    [InlineData("--nothing", "'--nothing' is not known; see 'blkring serve --help'")]
    [InlineData("--config /nowhere/blkring.json", "does not exist: write it, or leave --config out")]
    [InlineData("--config /", "cannot be read: it is a folder")]
    public void A_mistake_on_the_command_line_is_refused_in_one_line(string arguments, string expected)
    {
        using BlkringProcess blkring = Run([], arguments.Split(' '));

        Assert.Equal(2, blkring.ExitCode);
        Assert.Contains(expected, Assert.Single(blkring.ErrorLines), StringComparison.Ordinal);
    }

    [Fact]
    public void Json_without_the_check_is_refused()
    {
        using BlkringProcess blkring = BlkringProcess.Run(_folder.Path, "serve", "--json");

        Assert.Equal((2, ""), (blkring.ExitCode, blkring.Output));
        Assert.Contains("--check-config", Assert.Single(blkring.ErrorLines), StringComparison.Ordinal);
    }

    [Fact]
    public void The_configuration_that_is_installed_is_right_and_changes_nothing()
    {
        string shipped = Repository.PathOf("packaging/config/blkring.json");

        JsonElement with = Check(0, [], "--config", shipped),
            without = Check(0, [], "--config", Write("{}"));

        Assert.Equal(ValuesOf(without), ValuesOf(with));

        static string[] ValuesOf(JsonElement report) =>
            [
                .. report
                    .GetProperty("values")
                    .EnumerateArray()
                    .Select(value => $"{value.GetProperty("key")}={value.GetProperty("value")}"),
            ];
    }

    private string Write(string json)
    {
        File.WriteAllText(_folder.PathOf("blkring.json"), json);
        return _folder.PathOf("blkring.json");
    }

    private BlkringProcess Run((string, string)[] environment, params string[] arguments) =>
        BlkringProcess.RunWith(environment, _folder.Path, ["serve", "--check-config", .. arguments]);

    private JsonElement Check(int exitCode, (string, string)[] environment, params string[] arguments)
    {
        using BlkringProcess blkring = Run(environment, [.. arguments, "--json"]);
        Assert.Equal((exitCode, ""), (blkring.ExitCode, blkring.Errors));
        return JsonDocument.Parse(blkring.Output).RootElement;
    }

    private static (string Value, string Source) Find(JsonElement report, string key)
    {
        JsonElement value = report
            .GetProperty("values")
            .EnumerateArray()
            .Single(value => value.GetProperty("key").GetString() == key);
        return (value.GetProperty("value").GetString()!, value.GetProperty("source").GetString()!);
    }
}
