using Blkring.Engine.Settings;
using Blkring.Engine.Xenbus;

namespace Blkring.Settings;

/// <summary>What the daemon runs with: its settings, and those that devices have of their own.</summary>
internal sealed class ServeSettings(SettingValues values, IReadOnlyDictionary<DeviceName, SettingValues> devices)
{
    public SettingValues Values => values;

    public string Backend => values.Get(BackendSettings.Backend);

    /// <summary>The only domain to serve; null for all.</summary>
    public int? Frontend => values.Get(BackendSettings.Frontend);

    public string ControlSocket =>
        values.Get(DaemonSettings.ControlSocket) is { Length: > 0 } path
            ? path
            : ControlSocketPath.Standard(Backend, Frontend);

    public TimeSpan DrainTimeout => TimeSpan.FromSeconds(values.Get(DaemonSettings.DrainTimeoutSeconds));

    /// <summary>The device's own settings where it has some, else the daemon's.</summary>
    public DeviceOptions OptionsOf(DeviceName device) =>
        DeviceOptions.Of(devices.TryGetValue(device, out SettingValues? own) ? own.Over(values) : values);
}
