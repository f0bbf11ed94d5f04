using System.CommandLine;

namespace Blkring.Commands.Demo;

/// <summary>
/// The hidden command that the demo starts itself with: the frontend's process of <c>demo --processes 2</c>.
/// </summary>
internal static class DemoFrontendCommand
{
    public const string Name = "demo-frontend";
    public const string SocketOption = "--socket";

    private static readonly Option<string> s_socket = new(SocketOption)
    {
        Description = "Where the backend listens",
        Required = true,
    };

    public static Command Create()
    {
        Command command = new(Name, "The frontend's process of 'demo --processes 2'; started by it, not by hand")
        {
            s_socket,
        };
        command.Hidden = true;
        command.SetAction(parsed => FrontendProcess.Run(parsed.GetRequiredValue(s_socket)));
        return command;
    }
}
