using Blkring.Settings;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;
using Microsoft.Extensions.Options;

namespace Blkring.Commands.Serve;

/// <summary>
/// The process around a backend: its log, its signals, its end. The generic host and its container of services would
/// take as long to start as all the rest (docs/performance.md).
/// </summary>
internal static class Daemon
{
    /// <returns>An exit code of <see cref="ExitCode"/>.</returns>
    public static int Run(ServeSettings settings, OpenBackend open) =>
        RunAsync(settings, open).GetAwaiter().GetResult();

    private static async Task<int> RunAsync(ServeSettings settings, OpenBackend open)
    {
        using StopSignals signals = new();
        // Disposed last: it writes what is left to write. The factory would not dispose it.
        using ConsoleLoggerProvider console = CreateConsole();
        using LoggerFactory logging = new(
            [console],
            new LoggerFilterOptions { MinLevel = settings.Values.Get(DaemonSettings.LogLevel) }
        );
        using BackendService service = new(
            settings,
            open,
            ServiceNotifier.FromEnvironment(),
            logging.CreateLogger<BackendService>()
        );
        try
        {
            await service.StartAsync().ConfigureAwait(false);
            await signals.First.ConfigureAwait(false);
            await service.StopAsync().ConfigureAwait(false);
        }
        catch (XenMissingException e)
        {
            return Fail(ExitCode.Unavailable, e.Message);
        }
        catch (UsageException e)
        {
            return Fail(ExitCode.Usage, e.Message);
        }
        return service.Drained ? ExitCode.Ok : ExitCode.Failed;
    }

    private static ConsoleLoggerProvider CreateConsole()
    {
        ConsoleLoggerOptions options = new()
        {
            FormatterName = LineFormatter.FormatterName,
            LogToStandardErrorThreshold = LogLevel.Trace,
            // A log reader that hangs must not block a thread that serves guests.
            QueueFullMode = ConsoleLoggerQueueFullMode.DropWrite,
        };
        return new ConsoleLoggerProvider(new FixedOptions(options), [new LineFormatter()]);
    }

    private static int Fail(int code, string message)
    {
        string priority = string.IsNullOrEmpty(Environment.GetEnvironmentVariable("JOURNAL_STREAM")) ? "" : "<3>";
        Console.Error.WriteLine($"{priority}blkring: {message.ReplaceLineEndings(" ")}");
        return code;
    }

    /// <summary>Options that never change.</summary>
    private sealed class FixedOptions(ConsoleLoggerOptions options) : IOptionsMonitor<ConsoleLoggerOptions>
    {
        public ConsoleLoggerOptions CurrentValue => options;

        public ConsoleLoggerOptions Get(string? name) => options;

        public IDisposable? OnChange(Action<ConsoleLoggerOptions, string?> listener) => null;
    }
}
