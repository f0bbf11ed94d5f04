using System.CommandLine;
using Blkring.AbiTools.Import;
using Blkring.Commands;

namespace Blkring.AbiCommands;

/// <summary><c>blkring abi import</c>: C headers to a spec.</summary>
internal static class ImportCommand
{
    private static readonly Argument<string[]> s_headers = new("HEADER")
    {
        Description = "C headers of one protocol; the protocol takes the name of the first",
        Arity = ArgumentArity.OneOrMore,
    };
    private static readonly Option<string[]> s_include = new("-I")
    {
        Description = "A folder to search for included headers",
        HelpName = "DIR",
        Arity = ArgumentArity.OneOrMore,
    };
    private static readonly Option<string?> s_name = new("--name")
    {
        Description = "The name of the protocol. Without it: the name of the first header",
        HelpName = "NAME",
    };
    private static readonly Option<string> s_output = new("-o")
    {
        Description = "The spec to write",
        HelpName = "FILE",
        Required = true,
    };

    public static Command Create()
    {
        Command command = new(
            "import",
            """
            Writes the spec of a protocol from its C headers, as libclang reads them for each target.

            Example:
              blkring abi import /usr/include/xen/io/netif.h -o abi/netif.xml
            """
        )
        {
            s_headers,
            s_include,
            s_name,
            s_output,
        };
        command.SetAction(parsed =>
        {
            string spec = HeaderImport.Import(
                new ImportOptions
                {
                    Headers = parsed.GetRequiredValue(s_headers),
                    IncludeFolders = parsed.GetValue(s_include) ?? [],
                    Name = parsed.GetValue(s_name),
                }
            );
            Write(parsed.GetRequiredValue(s_output), spec);
            return ExitCode.Ok;
        });
        return command;
    }

    private static void Write(string path, string text)
    {
        try
        {
            File.WriteAllText(path, text);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new UsageException($"{path} cannot be written: {e.Message}");
        }
    }
}
