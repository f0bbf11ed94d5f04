using System.CommandLine;
using System.Diagnostics;
using System.Globalization;

namespace Blkring.Commands.Control;

/// <summary><c>blkring stats</c>: the rates of devices, from two readings of their counters.</summary>
internal static class StatsCommand
{
    private const double StandardSeconds = 1,
        MaxSeconds = 86_400;

    private static readonly ControlOptions s_options = new();

    private static readonly Argument<string?> s_device = new("DEVICE")
    {
        Description = "The only device to show: 7/xvda or 7/51712. [default: all connected devices]",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private static readonly Option<double?> s_interval = new("--interval")
    {
        Description = "Measure repeatedly, for this many seconds each, until interrupted. [default: once, 1 s]",
        HelpName = "SECONDS",
        CustomParser = result =>
        {
            string text = result.Tokens[0].Value;
            if (
                double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double seconds)
                && seconds is >= 0.1 and <= MaxSeconds
            )
                return seconds;
            result.AddError($"--interval {text}: give seconds from 0.1 to {MaxSeconds:F0}");
            return null;
        },
    };

    private static readonly Option<bool> s_json = new("--json")
    {
        Description = "Print the counters at once, as a JSON array.",
    };

    public static Command Create()
    {
        Command command = new(
            "stats",
            """
            Shows rates, latencies, queue depth and batch sizes of the connected devices of a running daemon.

            Rates cover the measured time; latencies, depth and batch sizes cover the time since the guest connected.
            """
        )
        {
            s_device,
            s_interval,
            s_json,
        };
        s_options.AddTo(command);
        command.SetAction(Run);
        return command;
    }

    private static int Run(ParseResult parsed)
    {
        string? device = parsed.GetValue(s_device) is string text ? ControlOptions.ParseDevice(text).ToString() : null;
        if (parsed.GetValue(s_json))
        {
            DeviceJson.Write(ReadDevices(parsed, device));
            return ExitCode.Ok;
        }
        double? interval = parsed.GetValue(s_interval);
        long startedAt = Stopwatch.GetTimestamp();
        IReadOnlyList<DeviceReport> before = ReadDevices(parsed, device);
        do
        {
            Thread.Sleep(TimeSpan.FromSeconds(interval ?? StandardSeconds));
            IReadOnlyList<DeviceReport> after = ReadDevices(parsed, device);
            DeviceText.WriteStatistics(before, after, Stopwatch.GetElapsedTime(startedAt).TotalSeconds);
            (before, startedAt) = (after, Stopwatch.GetTimestamp());
        } while (interval is not null);
        return ExitCode.Ok;
    }

    private static IReadOnlyList<DeviceReport> ReadDevices(ParseResult parsed, string? device)
    {
        IReadOnlyList<DeviceReport> devices =
            s_options.Ask(parsed, new ControlRequest { Command = ControlRequest.List }).Devices ?? [];
        if (device is null)
            return devices;
        DeviceReport? one = devices.FirstOrDefault(report => report.Device == device);
        return one is null ? throw new UsageException($"the daemon has no device {device}: see 'blkring list'") : [one];
    }
}
