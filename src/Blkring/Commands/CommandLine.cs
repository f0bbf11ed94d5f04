using System.CommandLine;
using System.CommandLine.Parsing;

namespace Blkring.Commands;

/// <summary>Parses and runs a command line; every error is one line that begins with the program's name.</summary>
internal static class CommandLine
{
    /// <param name="exitCodeOf">The exit code of an error of the user or the host; null for a bug.</param>
    public static int Run(Command root, string[] arguments, Func<Exception, int?> exitCodeOf)
    {
        // A file name may begin with @; it is not a response file.
        ParseResult parsed = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
        if (parsed.Errors.Count > 0)
        {
            string help = $"blkring {PathOf(parsed.CommandResult)}--help";
            // An unknown word is the cause of the other errors.
            string complaint = parsed.UnmatchedTokens is [var unknown, ..]
                ? $"'{unknown}' is not known"
                : parsed.Errors[0].Message.TrimEnd('.');
            return Fail(ExitCode.Usage, $"{complaint}; see '{help}'");
        }
        try
        {
            // Commands handle signals themselves: the demo has files to remove.
            return parsed.Invoke(
                new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null }
            );
        }
        catch (Exception e) when (exitCodeOf(e) is int)
        {
            return Fail(exitCodeOf(e)!.Value, e.Message);
        }
    }

    /// <summary>The exit code of errors that any command can cause; null for a bug.</summary>
    public static int? ExitCodeOf(Exception error) =>
        error switch
        {
            UsageException => ExitCode.Usage,
            XenMissingException => ExitCode.Unavailable,
            IOException or UnauthorizedAccessException or OutOfMemoryException => ExitCode.Failed,
            _ => null,
        };

    public static int Fail(int code, string message)
    {
        Console.Error.WriteLine("blkring: " + message.ReplaceLineEndings(" "));
        return code;
    }

    // The words between blkring and its options: "abi show ".
    private static string PathOf(CommandResult result) =>
        result.Parent is CommandResult parent ? $"{PathOf(parent)}{result.Command.Name} " : "";
}
