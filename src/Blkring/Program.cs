using System.CommandLine;
using Blkring.Commands;
using Blkring.Commands.Attach;
using Blkring.Commands.Control;
using Blkring.Commands.Demo;
using Blkring.Commands.Demo.Guests;
using Blkring.Commands.Opener;
using Blkring.Commands.Serve;
using Blkring.Engine.Disks;
using Blkring.Engine.Xenbus;

if (args is [AbiCommand.Name, .. string[] rest])
    return AbiCommand.Execute(rest);

RootCommand root = new("Blkring, a Xen block backend (blkif) in userspace.")
{
    ServeCommand.Create(),
    ListCommand.Create(),
    StatsCommand.Create(),
    DemoCommand.Create(),
    DemoFrontendCommand.Create(),
    AbiCommand.Create(),
    OpenerCommand.Create(),
    NoteCrashCommand.Create(),
};
foreach (Command command in DeviceCommands.Create().Concat(AttachCommand.Create()))
    root.Add(command);

return CommandLine.Run(
    root,
    args.Length == 0 ? ["--help"] : args,
    error =>
        error switch
        {
            ImageException => ExitCode.Usage,
            XenstoreException => ExitCode.Failed,
            _ => CommandLine.ExitCodeOf(error),
        }
);
