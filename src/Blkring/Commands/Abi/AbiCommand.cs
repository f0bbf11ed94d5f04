using System.CommandLine;

namespace Blkring.Commands.Abi;

/// <summary>
/// <c>blkring abi</c>: the layouts of the ring protocols, and what changes between two versions of them.
/// </summary>
internal static class AbiCommand
{
    public static Command Create() =>
        new("abi", "Shows and compares the layouts of Xen's ring protocols, ABI by ABI.")
        {
            ShowCommand.Create(),
            CheckCommand.Create(),
            DiffCommand.Create(),
            ImportCommand.Create(),
        };
}
