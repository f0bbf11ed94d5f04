using System.CommandLine;
using Blkring.Engine.Settings;
using Blkring.Engine.Xenbus;
using Blkring.Settings;

namespace Blkring.Commands.Control;

/// <summary>The commands that change one device of a running daemon.</summary>
internal static class DeviceCommands
{
    private static readonly ControlOptions s_options = new();

    private static readonly Argument<string?> s_size = new("SIZE")
    {
        Description =
            "The new length in bytes, or with K, M, G or T: 20G; at most the length of the image. "
            + "[default: the length of the image]",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private static readonly Argument<string> s_path = new("PATH") { Description = "The image to insert." };

    private static readonly Option<long?> s_iops = CreateLimit(DeviceSettings.Iops),
        s_iopsBurst = CreateLimit(DeviceSettings.IopsBurst),
        s_bandwidth = CreateLimit(DeviceSettings.Bandwidth, perSecond: true),
        s_bandwidthBurst = CreateLimit(DeviceSettings.BandwidthBurst);
    private static readonly Option<bool> s_failRequest = new("--fail-request")
    {
        Description = "Answer a request that crashed the daemon too often with an error, instead of trying it again.",
    };
    private static readonly Option<bool> s_keep = new("--keep")
    {
        Description = "Keep the limits for the next daemon, until the host reboots.",
    };
    private static readonly Option<bool> s_none = new("--none") { Description = "Remove all limits." };

    public static IEnumerable<Command> Create() =>
        [
            Create(
                "resize",
                "Announces a new disk length to the guest. Lengthen the image first, with truncate -s or lvextend.",
                parsed => new ControlRequest
                {
                    Command = ControlRequest.Resize,
                    Bytes = parsed.GetValue(s_size) is string size ? ControlOptions.ParseLength(size) : null,
                },
                s_size
            ),
            Create(
                "pause",
                "Completes the requests in flight and takes no more, so that the image does not change. "
                    + "The guest waits.",
                _ => new ControlRequest { Command = ControlRequest.Pause }
            ),
            Create("resume", "Resumes a paused device.", _ => new ControlRequest { Command = ControlRequest.Resume }),
            Create(
                "continue",
                "Lets a device go on that waits for a decision, in spite of the reason that 'blkring list' gives. "
                    + "Read the reason first: data may be lost.",
                parsed => new ControlRequest
                {
                    Command = ControlRequest.Continue,
                    FailRequest = parsed.GetValue(s_failRequest) ? true : null,
                },
                null,
                s_failRequest
            ),
            Create(
                "eject",
                "Ejects the medium of a CD-ROM drive.",
                _ => new ControlRequest { Command = ControlRequest.Eject }
            ),
            Create(
                "insert",
                "Inserts a medium into a CD-ROM drive.",
                parsed => new ControlRequest
                {
                    Command = ControlRequest.Insert,
                    Path = Path.GetFullPath(parsed.GetRequiredValue(s_path)),
                },
                s_path
            ),
            Create(
                "limit",
                "Changes the limits of a device, at once. They outlive a reboot of the guest, and with --keep a "
                    + "restart of the daemon. Limits that are not given stay as they are.",
                parsed => new ControlRequest
                {
                    Command = ControlRequest.Limit,
                    Limits = LimitsOf(parsed),
                    Keep = parsed.GetValue(s_keep) ? true : null,
                },
                null,
                s_iops,
                s_iopsBurst,
                s_bandwidth,
                s_bandwidthBurst,
                s_none,
                s_keep
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
            throw new UsageException("give limits, such as --iops 1000 or --bandwidth 200M, or --none to remove all");
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

    /// <summary>The option of a setting of the daemon, for one device.</summary>
    /// <param name="perSecond">The value may end with /s.</param>
    private static Option<long?> CreateLimit(Setting<long> setting, bool perSecond = false)
    {
        string option = ServeKey.Of(setting).Option;
        return new Option<long?>(option)
        {
            Description = setting.Description,
            HelpName = setting.Form,
            CustomParser = result =>
            {
                string text = result.Tokens[0].Value;
                if (
                    setting.TryParse(
                        perSecond && text.EndsWith("/s", StringComparison.Ordinal) ? text[..^2] : text,
                        out long limit
                    )
                )
                    return limit;
                result.AddError($"{option} {text}: give {setting.Expected}");
                return null;
            },
        };
    }

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
