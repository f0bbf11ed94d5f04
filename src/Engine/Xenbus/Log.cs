using Blkring.Engine.Errors;
using Blkring.Engine.Telemetry;
using Microsoft.Extensions.Logging;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// Every line that the control plane logs, as an event with a name and fields. Lines that a guest can cause pass the
/// device's <see cref="LogLimiter"/>.
/// </summary>
internal static partial class Log
{
    [LoggerMessage(1, LogLevel.Information, "serving {Root} over {Hypervisor}", EventName = "backend-started")]
    public static partial void Started(this ILogger log, string root, string hypervisor);

    [LoggerMessage(2, LogLevel.Information, "stopped, all devices drained: {Drained}", EventName = "backend-stopped")]
    public static partial void Stopped(this ILogger log, bool drained);

    [LoggerMessage(
        3,
        LogLevel.Warning,
        "xenstore is away ({Reason}): connected devices stay served",
        EventName = "store-lost"
    )]
    public static partial void StoreLost(this ILogger log, string reason);

    [LoggerMessage(4, LogLevel.Information, "xenstore is back", EventName = "store-back")]
    public static partial void StoreBack(this ILogger log);

    [LoggerMessage(
        10,
        LogLevel.Information,
        "device {Device}: {Before} to {After}, frontend {Frontend}",
        EventName = "device-state-changed"
    )]
    public static partial void StateChanged(
        this ILogger log,
        DeviceId device,
        XenbusState before,
        XenbusState after,
        XenbusState frontend
    );

    [LoggerMessage(
        11,
        LogLevel.Information,
        "device {Device}: connected, {Disk}, protocol {Protocol}, queues {Queues}, ring pages {Pages}, "
            + "takeover {Takeover}",
        EventName = "device-connected"
    )]
    public static partial void Connected(
        this ILogger log,
        DeviceId device,
        string disk,
        string protocol,
        int queues,
        int pages,
        bool takeover
    );

    [LoggerMessage(12, LogLevel.Error, "device {Device}: {Reason} [{Code}]", EventName = "device-failed")]
    public static partial void DeviceFailed(this ILogger log, DeviceId device, ErrorCode code, string reason);

    [LoggerMessage(13, LogLevel.Warning, "device {Device}: {Reason} [{Code}]", EventName = "device-warning")]
    public static partial void DeviceWarning(this ILogger log, DeviceId device, ErrorCode code, string reason);

    [LoggerMessage(
        14,
        LogLevel.Warning,
        "device {Device}: {Reason}; the guest waits [{Code}]",
        EventName = "device-waiting"
    )]
    public static partial void Waiting(this ILogger log, DeviceId device, ErrorCode code, string reason);

    [LoggerMessage(
        15,
        LogLevel.Warning,
        "device {Device}: requests still in flight in {Disk}; the device stops when they end",
        EventName = "device-disk-hangs"
    )]
    public static partial void DiskHangs(this ILogger log, DeviceId device, string disk);

    [LoggerMessage(16, LogLevel.Information, "device {Device}: now {Sectors} sectors", EventName = "device-resized")]
    public static partial void Resized(this ILogger log, DeviceId device, long sectors);

    [LoggerMessage(17, LogLevel.Information, "device {Device}: medium changed, {Disk}", EventName = "medium-changed")]
    public static partial void MediumChanged(this ILogger log, DeviceId device, string disk);

    [LoggerMessage(
        18,
        LogLevel.Warning,
        "device {Device}: the store has lost its keys, with all others; "
            + "it stays served until they come back or the daemon ends",
        EventName = "device-orphaned"
    )]
    public static partial void Orphaned(this ILogger log, DeviceId device);

    [LoggerMessage(
        19,
        LogLevel.Debug,
        "device {Device}: {Reason}; trying again [{Code}]",
        EventName = "store-call-failed"
    )]
    public static partial void StoreFailed(this ILogger log, DeviceId device, ErrorCode code, string reason);

    [LoggerMessage(
        20,
        LogLevel.Warning,
        "device {Device}: {Reason}; trying again every second [{Code}]",
        EventName = "store-refuses"
    )]
    public static partial void StoreRefuses(this ILogger log, DeviceId device, ErrorCode code, string reason);

    [LoggerMessage(21, LogLevel.Warning, "device {Device}: {Kind}, {Fault}", EventName = "request-fault")]
    public static partial void RequestFailed(this ILogger log, DeviceId device, FaultKind kind, string fault);

    [LoggerMessage(
        23,
        LogLevel.Warning,
        "device {Device}: goes on by the operator's decision [{Code}]",
        EventName = "device-continued"
    )]
    public static partial void Accepted(this ILogger log, DeviceId device, ErrorCode code);

    [LoggerMessage(
        25,
        LogLevel.Error,
        "the I/O thread {Reactor} is stuck in the kernel: the devices on it wait; see dmesg",
        EventName = "reactor-stuck"
    )]
    public static partial void ReactorStuck(this ILogger log, string reactor);

    [LoggerMessage(24, LogLevel.Error, "a bug in {Where}; guests are served on", EventName = "control-bug")]
    public static partial void Bug(this ILogger log, string where, Exception bug);

    [LoggerMessage(22, LogLevel.Warning, "device {Device}: {Suppressed} lines left out", EventName = "lines-left-out")]
    public static partial void LinesLeftOut(this ILogger log, DeviceId device, long suppressed);
}
