using System.CommandLine;
using Blkring.Engine.Disks;
using Blkring.Settings;

namespace Blkring.Commands.Control;

/// <summary>
/// What all commands that speak to the daemon have in common: how they find it, and how they name a device.
/// </summary>
internal sealed class ControlOptions
{
    private readonly Option<string> _backend = new(ServeKey.Backend.Option)
    {
        Description = "The daemon that serves this backend directory",
        HelpName = ServeKey.Backend.HelpName,
        DefaultValueFactory = _ => ServeKey.Backend.Default,
    };

    private readonly Option<int?> _frontend = new(ServeKey.Frontend.Option)
    {
        Description = "The daemon that was started with the same --frontend",
        HelpName = ServeKey.Frontend.HelpName,
    };

    private readonly Option<string?> _socket = new(ServeKey.ControlSocket.Option)
    {
        Description = "The daemon with this control socket",
        HelpName = ServeKey.ControlSocket.HelpName,
    };

    public void AddTo(Command command)
    {
        command.Options.Add(_backend);
        command.Options.Add(_frontend);
        command.Options.Add(_socket);
    }

    public ControlResponse Ask(ParseResult parsed, ControlRequest request) =>
        ControlClient.Ask(SocketOf(parsed), request);

    private string SocketOf(ParseResult parsed) =>
        parsed.GetValue(_socket)
        ?? ControlSocketPath.Standard(parsed.GetRequiredValue(_backend), parsed.GetValue(_frontend));

    public static Argument<string> Device { get; } =
        new("DEVICE") { Description = "Domain id and virtual device: 7/51712 or 7/xvda" };

    /// <summary>Parsed here, so that a typing error is reported without a daemon.</summary>
    public static DeviceName DeviceOf(ParseResult parsed) => ParseDevice(parsed.GetRequiredValue(Device));

    public static DeviceName ParseDevice(string text) =>
        DeviceName.TryParse(text, out DeviceName device) ? device : throw new UsageException(DeviceName.Advice(text));

    /// <summary>A disk's length.</summary>
    public static long ParseLength(string text) =>
        Sizes.TryParse(text, out long bytes) && bytes > 0 && bytes % Disk.SectorBytes == 0
            ? bytes
            : throw new UsageException(
                $"'{text}' is no size: give a multiple of 512 bytes, as 20G, 512M or 1073741824"
            );
}
