using System.CommandLine;
using Blkring.Engine.Disks;
using Blkring.Engine.Settings;
using Blkring.Engine.Xenbus;
using Blkring.Settings;

namespace Blkring.Commands.Control;

/// <summary>
/// What the commands that talk to a daemon share: the options that find it, and the argument that names a device.
/// </summary>
internal sealed class ControlOptions
{
    private readonly Option<string> _backend = new(ServeKey.Backend.Option)
    {
        Description = "The backend directory that the daemon serves.",
        HelpName = ServeKey.Backend.Setting.Form,
        DefaultValueFactory = _ => BackendSettings.Backend.Default,
    };

    private readonly Option<int?> _frontend = new(ServeKey.Frontend.Option)
    {
        Description = "The domain, for a daemon that was started with --frontend.",
        HelpName = ServeKey.Frontend.Setting.Form,
    };

    private readonly Option<string?> _socket = new(ServeKey.ControlSocket.Option)
    {
        Description = "The control socket of the daemon. [default: from --backend and --frontend]",
        HelpName = ServeKey.ControlSocket.Setting.Form,
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
        new("DEVICE") { Description = "The guest's domain id and the virtual device: 7/xvda or 7/51712." };

    /// <summary>Parsed here, so that a typing error is reported without a daemon.</summary>
    public static DeviceName DeviceOf(ParseResult parsed) => ParseDevice(parsed.GetRequiredValue(Device));

    public static DeviceName ParseDevice(string text) =>
        DeviceName.TryParse(text, out DeviceName device) ? device : throw new UsageException(DeviceName.Advice(text));

    /// <summary>The length of a disk.</summary>
    public static long ParseLength(string text) =>
        Sizes.TryParse(text, out long bytes) && bytes > 0 && bytes % Disk.SectorBytes == 0
            ? bytes
            : throw new UsageException(
                $"'{text}' is not a size: give a multiple of 512 bytes such as 20G, 512M or 1073741824"
            );
}
