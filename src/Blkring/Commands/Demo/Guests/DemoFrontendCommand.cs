using System.CommandLine;

namespace Blkring.Commands.Demo.Guests;

/// <summary>
/// The hidden command of the guest's process, which <c>demo --processes 2</c> starts.
/// </summary>
internal static class DemoFrontendCommand
{
    public const string Name = "demo-frontend";
    public const string SocketOption = "--socket";

    private static readonly Option<string> s_socket = new(SocketOption)
    {
        Description = "The path of the socket where the demo listens",
        Required = true,
    };

    public static Command Create()
    {
        Command command = new(Name, "The guest's process of 'demo --processes 2', which starts it") { s_socket };
        command.Hidden = true;
        command.SetAction(parsed => FrontendProcess.Run(parsed.GetRequiredValue(s_socket)));
        return command;
    }
}
