using Blkring.Engine.Telemetry;
using Microsoft.Extensions.Logging;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// Every line the control plane logs. What a guest can cause goes through the device's <see cref="LogLimiter"/>.
/// </summary>
internal static partial class Log
{
    [LoggerMessage(1, LogLevel.Information, "serving {Root} over {Hypervisor}")]
    public static partial void Started(this ILogger log, string root, string hypervisor);

    [LoggerMessage(2, LogLevel.Information, "device {Device}: {Before} to {After}, frontend {Frontend}")]
    public static partial void StateChanged(
        this ILogger log,
        DeviceId device,
        XenbusState before,
        XenbusState after,
        XenbusState frontend
    );

    [LoggerMessage(
        3,
        LogLevel.Information,
        "device {Device}: connected, {Disk}, protocol {Protocol}, {Queues} queues of {Pages} pages, taken over: {Resumed}"
    )]
    public static partial void Connected(
        this ILogger log,
        DeviceId device,
        string disk,
        string protocol,
        int queues,
        int pages,
        bool resumed
    );

    [LoggerMessage(4, LogLevel.Error, "device {Device}: {Reason}")]
    public static partial void DeviceFailed(this ILogger log, DeviceId device, string reason);

    [LoggerMessage(5, LogLevel.Warning, "device {Device}: {Reason}")]
    public static partial void DeviceWarning(this ILogger log, DeviceId device, string reason);

    [LoggerMessage(
        6,
        LogLevel.Warning,
        "device {Device}: {Kind}, operation {Operation} at sector {Sector}, code {Code}"
    )]
    public static partial void RequestFailed(
        this ILogger log,
        DeviceId device,
        FaultKind kind,
        byte operation,
        ulong sector,
        int code
    );

    [LoggerMessage(7, LogLevel.Warning, "device {Device}: requests still under way in {Disk}; it stops when they end")]
    public static partial void DiskHangs(this ILogger log, DeviceId device, string disk);

    [LoggerMessage(8, LogLevel.Information, "device {Device}: now {Sectors} sectors")]
    public static partial void Resized(this ILogger log, DeviceId device, long sectors);

    [LoggerMessage(9, LogLevel.Information, "device {Device}: medium changed, {Disk}")]
    public static partial void MediumChanged(this ILogger log, DeviceId device, string disk);

    [LoggerMessage(10, LogLevel.Warning, "xenstore is away ({Reason}): what is connected is served on")]
    public static partial void StoreLost(this ILogger log, string reason);

    [LoggerMessage(11, LogLevel.Information, "xenstore is back")]
    public static partial void StoreBack(this ILogger log);

    [LoggerMessage(
        12,
        LogLevel.Warning,
        "device {Device}: its keys are gone with all others of the store; served on until the daemon ends or the keys come back"
    )]
    public static partial void Orphaned(this ILogger log, DeviceId device);

    [LoggerMessage(13, LogLevel.Debug, "device {Device}: {Reason}; tried again")]
    public static partial void StoreFailed(this ILogger log, DeviceId device, string reason);

    [LoggerMessage(15, LogLevel.Warning, "device {Device}: {Suppressed} lines left out")]
    public static partial void LeftOut(this ILogger log, DeviceId device, long suppressed);

    [LoggerMessage(14, LogLevel.Information, "stopped, all devices drained: {Drained}")]
    public static partial void Stopped(this ILogger log, bool drained);
}
