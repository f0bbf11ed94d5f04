using System.CommandLine;
using System.CommandLine.Help;
using Blkring.AbiCommands;
using Blkring.AbiTools;
using Blkring.AbiTools.Import;
using Blkring.Commands;

// This program runs as a command of blkring, so help and errors say 'blkring abi'.
Command blkring = new("blkring")
{
    new HelpOption(),
    new Command("abi", "Shows and compares the layouts of Xen's ring protocols, in each ABI.")
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
