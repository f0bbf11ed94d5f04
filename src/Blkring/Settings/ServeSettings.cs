using Blkring.Engine.Settings;
using Blkring.Engine.Xenbus;

namespace Blkring.Settings;

/// <summary>The settings of the daemon, and the settings of single devices.</summary>
internal sealed class ServeSettings(SettingValues values, IReadOnlyDictionary<DeviceKey, SettingValues> devices)
{
    public SettingValues Values => values;

    public string Backend => values.Get(BackendSettings.Backend);

    /// <summary>The only domain to serve; null for all.</summary>
    public int? Frontend => values.Get(BackendSettings.Frontend);

    public string ControlSocket =>
        values.Get(DaemonSettings.ControlSocket) is { Length: > 0 } path
            ? path
            : ControlSocketPath.Standard(Backend, Frontend);

    /// <summary>The opener's socket; null: the daemon opens images itself.</summary>
    public string? Opener => values.Get(DaemonSettings.Opener) is { Length: > 0 } path ? path : null;

    /// <summary>Null: what the hypervisor says.</summary>
    public int? MaxMappedGrants => values.Get(BackendSettings.MaxMappedGrants);

    public TimeSpan DrainTimeout => TimeSpan.FromSeconds(values.Get(DaemonSettings.DrainTimeoutSeconds));

    /// <summary>The device's own settings; the daemon's for those that it does not have.</summary>
    public DeviceOptions OptionsOf(DeviceIdentity device) =>
        DeviceOptions.Of(
            DeviceKey.Of(device).Select(key => devices.GetValueOrDefault(key)).FirstOrDefault(own => own is not null)
                is { } own
                ? own.Over(values)
                : values
        );
}
