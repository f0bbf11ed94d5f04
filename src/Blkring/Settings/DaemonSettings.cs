using System.Text;
using Blkring.Engine.Settings;
using Microsoft.Extensions.Logging;

namespace Blkring.Settings;

/// <summary>The settings of the process around the engine.</summary>
internal static class DaemonSettings
{
    public static readonly NumberSetting DrainTimeoutSeconds = Setting.Number(
        "DrainTimeoutSeconds",
        min: 1,
        max: 3600,
        defaultValue: 20,
        "How long a stop waits for requests in flight.",
        form: "SECONDS",
        unit: "s"
    );

    public static readonly Setting<string> ControlSocket = Socket(
        "ControlSocket",
        "The socket on which 'blkring list' and the other commands reach the daemon.",
        withoutValue: $"{RuntimeFolder.Standard}/NAME.sock"
    );

    public static readonly Setting<string> Opener = Socket(
        "Opener",
        "The socket of 'blkring opener', which opens images for a daemon that runs without privileges.",
        withoutValue: "none: the daemon opens images itself"
    );

    public static readonly Setting<LogLevel> LogLevel = Setting.Choice(
        "LogLevel",
        "information",
        "The least severe messages to log.",
        ("debug", Microsoft.Extensions.Logging.LogLevel.Debug),
        ("information", Microsoft.Extensions.Logging.LogLevel.Information),
        ("warning", Microsoft.Extensions.Logging.LogLevel.Warning),
        ("error", Microsoft.Extensions.Logging.LogLevel.Error)
    );

    private static Setting<string> Socket(string name, string description, string withoutValue) =>
        Setting.Text(
            name,
            "PATH",
            "",
            path => path.StartsWith('/') && Encoding.UTF8.GetByteCount(path) <= ControlSocketPath.MaxBytes,
            $"an absolute path of at most {ControlSocketPath.MaxBytes} bytes",
            description,
            withoutValue
        );
}
