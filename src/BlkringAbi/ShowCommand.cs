using System.CommandLine;
using Blkring.AbiTools.Layouts;
using Blkring.Commands;

namespace Blkring.AbiCommands;

/// <summary><c>blkring abi show</c>: a layout as a table, JSON, C, C# or a picture.</summary>
internal static class ShowCommand
{
    private static readonly Argument<string?> s_protocol = new("PROTOCOL")
    {
        Description = "One protocol only, such as blkif. Without it: all",
        Arity = ArgumentArity.ZeroOrOne,
        // An option that does not exist would be taken for a protocol.
        Validators =
        {
            static result =>
            {
                if (result.Tokens is [{ Value: ['-', ..] option }])
                    result.AddError($"'{option}' is not known");
            },
        },
    };
    private static readonly Option<string?> s_spec = new("--spec")
    {
        Description = "The spec to show. Without it: the specs that Blkring was built from",
        HelpName = "FILE",
    };
    private static readonly Option<string?> s_abi = new("--abi")
    {
        Description = "One ABI only, such as x86_32",
        HelpName = "ABI",
    };
    private static readonly Option<string?> s_struct = new("--struct")
    {
        Description = "One struct or union only, by its C name",
        HelpName = "NAME",
    };
    private static readonly Option<bool> s_json = new("--json")
    {
        Description = "An array of {struct, abi, size, alignment, members: [{name, type, offset, size}]}",
    };
    private static readonly Option<bool> s_c = new("--c")
    {
        Description = "C declarations that have this layout on any machine",
    };
    private static readonly Option<bool> s_csharp = new("--csharp")
    {
        Description = "The C# that is generated from the spec",
    };
    private static readonly Option<bool> s_svg = new("--svg") { Description = "An SVG picture: a map of the bytes" };

    private static readonly Option<bool>[] s_formats = [s_json, s_c, s_csharp, s_svg];

    public static Command Create()
    {
        Command command = new(
            "show",
            """
            Shows the offset and size of every member, in each ABI.

            Examples:
              blkring abi show blkif
              blkring abi show --struct blkif_request_indirect --abi x86_32
            """
        )
        {
            s_protocol,
            s_spec,
            s_abi,
            s_struct,
            s_json,
            s_c,
            s_csharp,
            s_svg,
        };
        command.SetAction(Execute);
        return command;
    }

    private static int Execute(ParseResult parsed)
    {
        Option<bool>[] asked = [.. s_formats.Where(parsed.GetValue)];
        if (asked.Length > 1)
            throw new UsageException($"{asked[0].Name} and {asked[1].Name} exclude each other: give only one of them");

        AbiSelection selection = new(parsed.GetValue(s_abi), parsed.GetValue(s_struct), parsed.GetValue(s_protocol));
        IReadOnlyList<AbiSource> sources = selection.Of(
            parsed.GetValue(s_spec) is { } path ? [AbiSource.Read(path)] : AbiSource.Shipped()
        );
        selection.Check(sources);
        AbiModel[] models = [.. sources.Select(s => s.Model)];
        switch (asked)
        {
            case []:
                AbiText.WriteLayouts(models, selection);
                break;
            case [var format] when format == s_json:
                Console.Out.WriteLine(LayoutJson.Write(models, selection));
                break;
            case [var format] when format == s_c:
                Console.Out.Write(CDeclarations.Write(sources, selection));
                break;
            case [var format] when format == s_csharp:
                foreach (AbiSource source in sources)
                    Console.Out.Write(GeneratedCSharp.Write(source, selection));
                break;
            default:
                Console.Out.Write(ByteMap.Write(models, selection));
                break;
        }
        return ExitCode.Ok;
    }
}
