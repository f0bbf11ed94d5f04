using Blkring.Settings;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;
using Microsoft.Extensions.Options;

namespace Blkring.Commands.Serve;

/// <summary>
/// The generic host around a backend. Apart from the command, so that other commands do not load it.
/// </summary>
internal static class Daemon
{
    // Added to the drain timeout, to close devices and the log.
    private static readonly TimeSpan s_grace = TimeSpan.FromSeconds(10);

    /// <returns>An exit code of <see cref="ExitCode"/>.</returns>
    public static int Run(ServeSettings settings, OpenBackend open)
    {
        ServiceNotifier notifier = ServiceNotifier.FromEnvironment();
        HostApplicationBuilder builder = new(new HostApplicationBuilderSettings { DisableDefaults = true });
        AddLogging(builder.Logging, settings.Values.Get(DaemonSettings.LogLevel));
        builder.Services.AddSingleton(Options.Create(settings));
        builder.Services.AddSingleton(open);
        builder.Services.AddSingleton(notifier);
        builder.Services.AddSingleton<IHostLifetime, SignalLifetime>();
        builder.Services.AddSingleton<BackendService>();
        builder.Services.AddHostedService(services => services.GetRequiredService<BackendService>());
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = settings.DrainTimeout + s_grace);

        using IHost host = builder.Build();
        BackendService service = host.Services.GetRequiredService<BackendService>();
        try
        {
            host.Run();
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

    private static void AddLogging(ILoggingBuilder logging, LogLevel level)
    {
        logging.SetMinimumLevel(level);
        // The host's own messages repeat ours.
        logging.AddFilter("Microsoft", LogLevel.None);
        logging.AddConsole(console =>
        {
            console.FormatterName = LineFormatter.FormatterName;
            console.LogToStandardErrorThreshold = LogLevel.Trace;
            // A log reader that hangs must not block a thread that serves guests.
            console.QueueFullMode = ConsoleLoggerQueueFullMode.DropWrite;
        });
        logging.Services.AddSingleton<ConsoleFormatter, LineFormatter>();
    }

    private static int Fail(int code, string message)
    {
        string priority = string.IsNullOrEmpty(Environment.GetEnvironmentVariable("JOURNAL_STREAM")) ? "" : "<3>";
        Console.Error.WriteLine($"{priority}blkring: {message.ReplaceLineEndings(" ")}");
        return code;
    }
}
