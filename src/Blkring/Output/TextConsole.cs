using Spectre.Console;

namespace Blkring.Output;

/// <summary>Standard output for people: colours on a terminal, plain and never cut anywhere else.</summary>
internal static class TextConsole
{
    /// <summary>Wider than any row, because output that is not a terminal has no width.</summary>
    private const int UnboundedWidth = 1000;

    public static IAnsiConsole Create()
    {
        // Output that is not a terminal gets no escape sequences, whatever TERM and CI say.
        AnsiSupport ansi = Console.IsOutputRedirected ? AnsiSupport.No : AnsiSupport.Detect;
        IAnsiConsole console = AnsiConsole.Create(
            new AnsiConsoleSettings { Ansi = ansi, Out = new AnsiConsoleOutput(Console.Out) }
        );
        if (Console.IsOutputRedirected)
            console.Profile.Width = UnboundedWidth;
        return console;
    }
}
