using System.CommandLine;
using Blkring.Settings;

namespace Blkring.Commands.Control;

/// <summary>The commands that change one device of a running daemon.</summary>
internal static class DeviceCommands
{
    private static readonly ControlOptions s_options = new();

    private static readonly Argument<string?> s_size = new("SIZE")
    {
        Description =
            "The new length: 20G, 512M or bytes; at most the image's. Without it: as long as the image now is",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private static readonly Argument<string> s_path = new("PATH") { Description = "The image to insert" };

    private static readonly Option<long?> s_iops = CreateLimit(ServeKey.Iops),
        s_iopsBurst = CreateLimit(ServeKey.IopsBurst);
    private static readonly Option<long?> s_bandwidth = CreateLimit(ServeKey.Bandwidth),
        s_bandwidthBurst = CreateLimit(ServeKey.BandwidthBurst);
    private static readonly Option<bool> s_none = new("--none") { Description = "Lift all limits" };

    public static IEnumerable<Command> Create() =>
        [
            Create(
                "resize",
                "Tells a guest of its disk's new length. The image itself is made longer beforehand: truncate -s, lvextend.",
                parsed => new ControlRequest
                {
                    Command = ControlRequest.Resize,
                    Bytes = parsed.GetValue(s_size) is string size ? ControlOptions.ParseLength(size) : null,
                },
                s_size
            ),
            Create(
                "pause",
                "Finishes what is under way and takes no further requests: the image is quiet, the guest waits.",
                _ => new ControlRequest { Command = ControlRequest.Pause }
            ),
            Create(
                "resume",
                "Serves a paused device again.",
                _ => new ControlRequest { Command = ControlRequest.Resume }
            ),
            Create(
                "eject",
                "Takes the medium out of a CD-ROM drive.",
                _ => new ControlRequest { Command = ControlRequest.Eject }
            ),
            Create(
                "insert",
                "Puts a medium into a CD-ROM drive.",
                parsed => new ControlRequest
                {
                    Command = ControlRequest.Insert,
                    Path = Path.GetFullPath(parsed.GetRequiredValue(s_path)),
                },
                s_path
            ),
            Create(
                "limit",
                "Limits what a device may do, at once and until it is detached or the daemon ends. Limits that are not named stay as they are.",
                parsed => new ControlRequest { Command = ControlRequest.Limit, Limits = LimitsOf(parsed) },
                null,
                s_iops,
                s_iopsBurst,
                s_bandwidth,
                s_bandwidthBurst,
                s_none
            ),
        ];

    private static LimitsReport LimitsOf(ParseResult parsed)
    {
        LimitsReport limits = new()
        {
            Iops = parsed.GetValue(s_iops),
            IopsBurst = parsed.GetValue(s_iopsBurst),
            BytesPerSecond = parsed.GetValue(s_bandwidth),
            BytesBurst = parsed.GetValue(s_bandwidthBurst),
        };
        bool none = parsed.GetValue(s_none);
        if (none == limits.IsChange)
            throw new UsageException("give limits, as --iops 1000 or --bandwidth 200M, or --none to lift all");
        return none
            ? new LimitsReport
            {
                Iops = 0,
                IopsBurst = 0,
                BytesPerSecond = 0,
                BytesBurst = 0,
            }
            : limits;
    }

    /// <summary>As the key of the configuration, which says how it is written and what it may be.</summary>
    private static Option<long?> CreateLimit(ServeKey key) =>
        new(key.Option)
        {
            Description = key.Description,
            HelpName = key.HelpName,
            CustomParser = result =>
            {
                string text = result.Tokens[0].Value,
                    size = text.EndsWith("/s", StringComparison.Ordinal) && key.HelpName == "SIZE" ? text[..^2] : text;
                if (key.Complain(size) is not string advice)
                    return Sizes.Parse(size);
                result.AddError($"{key.Option} {text}: {advice}");
                return null;
            },
        };

    private static Command Create(
        string name,
        string description,
        Func<ParseResult, ControlRequest> request,
        Argument? argument = null,
        params ReadOnlySpan<Option> options
    )
    {
        Command command = new(name, description);
        command.Arguments.Add(ControlOptions.Device);
        if (argument is not null)
            command.Arguments.Add(argument);
        foreach (Option option in options)
            command.Options.Add(option);
        s_options.AddTo(command);
        command.SetAction(parsed =>
        {
            s_options.Ask(parsed, request(parsed) with { Device = ControlOptions.DeviceOf(parsed).ToString() });
            return ExitCode.Ok;
        });
        return command;
    }
}
