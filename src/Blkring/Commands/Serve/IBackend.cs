using Blkring.Commands.Control;
using Blkring.Settings;

namespace Blkring.Commands.Serve;

/// <summary>The part of the daemon that serves guests.</summary>
internal interface IBackend : IDeviceControl, IDisposable
{
    void Start();

    /// <summary>Drains all devices.</summary>
    /// <returns>False when requests were still in flight after <paramref name="timeout"/>.</returns>
    bool Stop(TimeSpan timeout);

    /// <summary>What a restart of the process would mend, in words; null when nothing.</summary>
    string? Sickness { get; }

    int DeviceCount { get; }
}

/// <summary>Opens the backend for these settings.</summary>
internal delegate IBackend OpenBackend(ServeSettings settings, Microsoft.Extensions.Logging.ILogger logger);
