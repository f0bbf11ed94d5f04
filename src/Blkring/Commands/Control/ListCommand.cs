using System.CommandLine;

namespace Blkring.Commands.Control;

/// <summary><c>blkring list</c>: the devices of a running daemon.</summary>
internal static class ListCommand
{
    private static readonly ControlOptions s_options = new();
    private static readonly Option<bool> s_json = new("--json")
    {
        Description = "Print a JSON array instead of a table.",
    };

    public static Command Create()
    {
        Command command = new("list", "Lists the devices of a running daemon.") { s_json };
        s_options.AddTo(command);
        command.SetAction(parsed =>
        {
            ControlResponse response = s_options.Ask(parsed, new ControlRequest { Command = ControlRequest.List });
            IReadOnlyList<DeviceReport> devices = response.Devices ?? [];
            if (parsed.GetValue(s_json))
                DeviceJson.Write(devices);
            else
                DeviceText.WriteList(devices, response.MappedGrants);
            return ExitCode.Ok;
        });
        return command;
    }
}
