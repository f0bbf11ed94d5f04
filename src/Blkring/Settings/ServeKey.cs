using Blkring.Engine.Reactors;
using Blkring.Engine.Settings;
using Blkring.Engine.Xenbus;

namespace Blkring.Settings;

/// <summary>
/// A setting of the daemon, with its option. A file uses its name; the environment uses the name after
/// <c>BLKRING_</c>.
/// </summary>
/// <param name="PerDevice">Also allowed under <see cref="DevicesSection"/>.</param>
internal sealed record ServeKey(Setting Setting, string Option, bool PerDevice = false)
{
    public const string DevicesSection = "Devices";

    public static readonly ServeKey Backend = new(BackendSettings.Backend, "--backend");
    public static readonly ServeKey Frontend = new(BackendSettings.Frontend, "--frontend");
    public static readonly ServeKey ControlSocket = new(DaemonSettings.ControlSocket, "--control-socket");

    public static readonly ServeKey[] All =
    [
        Backend,
        Frontend,
        OfDevice(DeviceSettings.Cache, "--cache"),
        OfDevice(DeviceSettings.Grants, "--grants"),
        OfDevice(DeviceSettings.MaxQueues, "--max-queues"),
        OfDevice(DeviceSettings.MaxRingPageOrder, "--max-ring-page-order"),
        OfDevice(DeviceSettings.MaxIndirectSegments, "--max-indirect-segments"),
        OfDevice(DeviceSettings.NativeSectors, "--native-sectors"),
        OfDevice(DeviceSettings.Lock, "--lock"),
        OfDevice(DeviceSettings.LostDisk, "--lost-disk"),
        OfDevice(DeviceSettings.Iops, "--iops"),
        OfDevice(DeviceSettings.IopsBurst, "--iops-burst"),
        OfDevice(DeviceSettings.Bandwidth, "--bandwidth"),
        OfDevice(DeviceSettings.BandwidthBurst, "--bandwidth-burst"),
        new(BackendSettings.MaxMappedGrants, "--max-mapped-grants"),
        new(ReactorSettings.IoThreads, "--io-threads"),
        new(ReactorSettings.Cpus, "--cpus"),
        new(ReactorSettings.ThreadsPerQueue, "--threads-per-queue"),
        new(ReactorSettings.PollWindowMicroseconds, "--poll-window"),
        new(DaemonSettings.DrainTimeoutSeconds, "--drain-timeout"),
        ControlSocket,
        new(DaemonSettings.Opener, "--opener"),
        new(DaemonSettings.LogLevel, "--log-level"),
    ];

    public string Name => Setting.Name;

    /// <summary>Help of the option, with the default.</summary>
    public string Help => $"{Setting.Description} [default: {Setting.DescribeDefault()}]";

    public static ServeKey Of(Setting setting) => All.First(key => key.Setting == setting);

    /// <returns>What to give instead; null for a value that is valid.</returns>
    public string? Validate(string text) => Setting.IsValid(text) ? null : "give " + Setting.Expected;

    private static ServeKey OfDevice(Setting setting, string option) => new(setting, option, PerDevice: true);
}
