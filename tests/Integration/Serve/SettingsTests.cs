using Blkring.Engine.Reactors;
using Blkring.Engine.Settings;
using Blkring.Engine.Xenbus;
using Blkring.Settings;

namespace Blkring.Integration.Tests;

/// <summary>Settings as data, and what follows from their values.</summary>
public sealed class SettingsTests
{
    [Fact]
    public void A_default_is_one_of_the_values_of_its_setting() =>
        Assert.All(
            ServeKey.All,
            key =>
            {
                SettingValues values = new();
                Assert.True(key.Setting.DefaultText.Length > 0 ^ key.Setting.WithoutValue.Length > 0, key.Name);
                Assert.True(key.Setting.DefaultText.Length == 0 || values.TrySet(key.Setting, key.Setting.DefaultText));
                Assert.Equal(DeviceOptions.Of(new SettingValues()), DeviceOptions.Of(values));
            }
        );

    [Fact]
    public void A_device_without_settings_has_the_defaults_of_its_options() =>
        Assert.Equal(new DeviceOptions(), DeviceOptions.Of(new SettingValues()));

    [Fact]
    public void Every_setting_of_a_device_reaches_its_options() =>
        Assert.All(
            ServeKey.All.Where(key => key.PerDevice),
            key =>
            {
                SettingValues values = new();
                Assert.True(values.TrySet(key.Setting, OtherThanTheDefault(key.Setting)));
                Assert.NotEqual(new DeviceOptions(), DeviceOptions.Of(values));
            }
        );

    [Fact]
    public void The_settings_of_threads_reach_the_pool()
    {
        SettingValues values = new();
        Assert.True(values.TrySet(ReactorSettings.IoThreads, "3"));
        Assert.True(values.TrySet(ReactorSettings.Cpus, "0-1"));
        Assert.True(values.TrySet(ReactorSettings.ThreadsPerQueue, "Dedicated"));
        Assert.True(values.TrySet(ReactorSettings.PollWindowMicroseconds, "7"));

        ReactorPoolOptions options = ReactorPoolOptions.Of(values);

        Assert.Equal((3, true), (options.Threads, options.ThreadPerQueue));
        Assert.Equal([0, 1], options.Cpus);
        Assert.Equal(TimeSpan.FromMicroseconds(7), options.Reactor.PollWindow);
        Assert.InRange(ReactorPoolOptions.Of(new SettingValues()).Threads, 1, 4);
    }

    [Fact]
    public void Values_over_others_keep_what_they_do_not_set()
    {
        SettingValues daemon = new(),
            device = new();
        daemon.Set(DeviceSettings.Iops, 1000);
        daemon.Set(DeviceSettings.MaxQueues, 2);
        device.Set(DeviceSettings.Iops, 0);

        SettingValues merged = device.Over(daemon);

        Assert.Equal(
            (0, 2, 256),
            (
                merged.Get(DeviceSettings.Iops),
                merged.Get(DeviceSettings.MaxQueues),
                merged.Get(DeviceSettings.MaxIndirectSegments)
            )
        );
        Assert.Equal(1000, daemon.Get(DeviceSettings.Iops));
    }

    [Fact]
    public void A_value_that_is_refused_changes_nothing()
    {
        SettingValues values = new();

        Assert.False(values.TrySet(DeviceSettings.MaxQueues, "65"));
        Assert.False(values.Has(DeviceSettings.MaxQueues));
        Assert.Equal(64, DeviceSettings.MaxQueues.Clamp(65));
    }

    [Fact]
    public void The_document_has_the_table_of_the_settings()
    {
        string table = string.Join(
            '\n',
            [
                "| Key | Option | Default | Value | Meaning |",
                "|---|---|---|---|---|",
                .. ServeKey.All.Select(key =>
                    $"| `{key.Name}` | `{key.Option}` | {key.Setting.DescribeDefault()} "
                    + $"| {key.Setting.Expected} | {key.Setting.Description} |"
                ),
            ]
        );

        Assert.True(
            Repository.Read("docs/deploy.md").Contains(table, StringComparison.Ordinal),
            "docs/deploy.md must have this table:\n" + table
        );
    }

    private static string OtherThanTheDefault(Setting setting) =>
        setting.Form.Split('|').Append("1").First(text => text != setting.DefaultText && setting.IsValid(text));
}
