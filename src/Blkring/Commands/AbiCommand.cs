using System.CommandLine;
using Blkring.Interop;

namespace Blkring.Commands;

/// <summary>
/// <c>blkring abi</c> runs another executable from the same folder. That one contains the C# compiler, which dom0 does
/// not need.
/// </summary>
internal static class AbiCommand
{
    public const string Name = "abi";
    private const string Program = "blkring-abi";

    /// <summary>For the list of commands; <see cref="Execute"/> takes the arguments before they are parsed.</summary>
    public static Command Create() => new(Name, "Shows and compares the layouts of Xen's ring protocols, in each ABI.");

    /// <summary>Replaces this process with the other executable. Returns only if that fails.</summary>
    public static int Execute(string[] arguments)
    {
        string path = Path.Combine(AppContext.BaseDirectory, Program);
        int error = -Libc.Execute(path, [path, .. arguments]);
        return CommandLine.Fail(
            ExitCode.Usage,
            $"{path} cannot be run: {Errno.Describe(error)}; install it beside blkring"
        );
    }
}
