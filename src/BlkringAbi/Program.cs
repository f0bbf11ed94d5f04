using System.CommandLine;
using System.CommandLine.Help;
using Blkring.AbiCommands;
using Blkring.AbiTools;
using Blkring.AbiTools.Import;
using Blkring.Commands;

// A command of blkring, which starts this program: help and errors name it so.
Command blkring = new("blkring")
{
    new HelpOption(),
    new Command("abi", "Shows and compares the layouts of Xen's ring protocols, ABI by ABI.")
    {
        ShowCommand.Create(),
        CheckCommand.Create(),
        DiffCommand.Create(),
        ImportCommand.Create(),
    },
};
return CommandLine.Run(
    blkring,
    ["abi", .. args],
    error =>
        error is UsageException or SpecException or HeaderImportException or LibClangMissingException
            ? ExitCode.Usage
            : CommandLine.ExitCodeOf(error)
);
