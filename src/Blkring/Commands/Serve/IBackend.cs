using Blkring.Commands.Control;
using Blkring.Settings;

namespace Blkring.Commands.Serve;

/// <summary>What serves the guests, as the daemon around it sees it.</summary>
internal interface IBackend : IDeviceControl, IDisposable
{
    void Start();

    /// <summary>Drains all devices.</summary>
    /// <returns>False when requests were still under way after <paramref name="timeout"/>.</returns>
    bool Stop(TimeSpan timeout);

    /// <summary>False when the thread that watches xenstore has not come round for too long.</summary>
    bool IsHealthy { get; }

    int DeviceCount { get; }
}

/// <summary>Opens what a daemon of these settings serves with.</summary>
internal delegate IBackend OpenBackend(ServeSettings settings, Microsoft.Extensions.Logging.ILogger logger);
