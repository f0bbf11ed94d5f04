using System.Globalization;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Logging.Console;

namespace Blkring.Commands.Serve;

/// <summary>
/// One line per entry: the name of the event and the message. They follow a priority (sd-daemon(3)) if the output goes
/// to the journal, which adds the time itself, and otherwise the time and the level.
/// </summary>
internal sealed class LineFormatter() : ConsoleFormatter(FormatterName)
{
    public const string FormatterName = "blkring";

    // systemd sets it if the output goes to the journal.
    private readonly bool _journal = !string.IsNullOrEmpty(Environment.GetEnvironmentVariable("JOURNAL_STREAM"));

    public override void Write<TState>(
        in LogEntry<TState> logEntry,
        IExternalScopeProvider? scopeProvider,
        TextWriter textWriter
    )
    {
        string message = logEntry.Formatter(logEntry.State, logEntry.Exception);
        if (logEntry.EventId.Name is { Length: > 0 } name)
            message = $"{name}: {message}";
        if (logEntry.Exception is Exception e)
            message += $": {e.GetType().Name}: {e.Message}";
        (int priority, string level) = logEntry.LogLevel switch
        {
            LogLevel.Critical => (2, "critical"),
            LogLevel.Error => (3, "error"),
            LogLevel.Warning => (4, "warning"),
            LogLevel.Information => (6, "info"),
            _ => (7, "debug"),
        };
        textWriter.Write(
            _journal
                ? $"<{priority}>"
                : $"{DateTime.Now.ToString("HH:mm:ss.fff", CultureInfo.InvariantCulture)} {level, -8}"
        );
        textWriter.Write(OnOneLine(message));
        textWriter.Write('\n');
    }

    // Guests wrote some of the text: it must not look like a separate line, or control a terminal.
    private static string OnOneLine(string message) =>
        message.Any(char.IsControl) ? new string([.. message.Select(c => char.IsControl(c) ? ' ' : c)]) : message;
}
