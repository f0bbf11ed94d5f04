using System.CommandLine;
using System.CommandLine.Parsing;
using Blkring.AbiTools;
using Blkring.AbiTools.Import;
using Blkring.Commands;
using Blkring.Commands.Abi;
using Blkring.Commands.Attach;
using Blkring.Commands.Control;
using Blkring.Commands.Demo;
using Blkring.Commands.Demo.Guests;
using Blkring.Commands.Serve;
using Blkring.Engine.Disks;
using Blkring.Engine.Xenbus;

RootCommand root = new("Blkring, a Xen block backend (blkif) in userspace.")
{
    ServeCommand.Create(),
    ListCommand.Create(),
    StatsCommand.Create(),
    DemoCommand.Create(),
    DemoFrontendCommand.Create(),
    AbiCommand.Create(),
};
foreach (Command command in DeviceCommands.Create().Concat(AttachCommand.Create()))
    root.Add(command);

// A file that happens to be called @something is an image, no list of arguments.
ParseResult parsed = root.Parse(
    args.Length == 0 ? ["--help"] : args,
    new ParserConfiguration { ResponseFileTokenReplacer = null }
);
if (parsed.Errors.Count > 0)
{
    string help = $"blkring {PathOf(parsed.CommandResult)}--help";
    // With a word that is not known the other complaints are about its absence.
    string complaint = parsed.UnmatchedTokens is [var unknown, ..]
        ? $"'{unknown}' is not known"
        : parsed.Errors[0].Message.TrimEnd('.');
    return Fail(ExitCode.Usage, $"{complaint}; see '{help}'");
}
try
{
    // Signals are the demo's own business: it has files to remove.
    return parsed.Invoke(
        new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null }
    );
}
catch (Exception e)
    when (e is UsageException or ImageException or SpecException or HeaderImportException or LibClangMissingException)
{
    return Fail(ExitCode.Usage, e.Message);
}
catch (XenMissingException e)
{
    return Fail(ExitCode.Unavailable, e.Message);
}
catch (Exception e) when (e is XenstoreException or IOException or UnauthorizedAccessException or OutOfMemoryException)
{
    return Fail(ExitCode.Failed, e.Message);
}

// The words between blkring and its options: "abi show ".
static string PathOf(CommandResult result) =>
    result.Parent is CommandResult parent ? $"{PathOf(parent)}{result.Command.Name} " : "";

static int Fail(int code, string message)
{
    Console.Error.WriteLine("blkring: " + message.ReplaceLineEndings(" "));
    return code;
}
