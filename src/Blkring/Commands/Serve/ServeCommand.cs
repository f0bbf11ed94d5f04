using System.CommandLine;
using Blkring.Settings;

namespace Blkring.Commands.Serve;

/// <summary>The command line of <c>blkring serve</c>: an option for each <see cref="ServeKey"/>.</summary>
internal static class ServeCommand
{
    private static readonly Option<string?> s_config = new("--config")
    {
        Description = $"The configuration file. [default: {ServeConfiguration.StandardFile} if it exists]",
        HelpName = "FILE",
    };

    private static readonly Option<bool> s_checkConfig = new("--check-config")
    {
        Description = "Print the effective configuration and the source of each value, then exit.",
    };

    private static readonly Option<bool> s_json = new("--json")
    {
        Description = "With --check-config: print one JSON object instead of a table.",
    };

    private static readonly (ServeKey Key, Option<string?> Option)[] s_keys =
    [
        .. ServeKey.All.Select(key => (key, CreateOption(key))),
    ];

    public static Command Create()
    {
        Command command = new(
            "serve",
            $"""
            Serves the disks of Xen guests: every device that appears in a backend directory of xenstore.

            Each option can also be set in the configuration file ("MaxQueues": 4) and in the environment
            ({ServeConfiguration.EnvironmentPrefix}MAXQUEUES=4). Options override the environment, which overrides the
            file.

            On SIGTERM, SIGINT or SIGHUP the daemon completes all requests in flight and exits. A second signal exits
            at once.

            Exit codes:
              0  exited with all requests complete
              1  failed, or requests were still in flight
              2  the configuration is invalid, or another daemon serves the same devices
              3  Xen or one of its libraries is missing
            """
        )
        {
            s_config,
            s_checkConfig,
            s_json,
        };
        foreach ((_, Option<string?> option) in s_keys)
            command.Options.Add(option);
        command.SetAction(Run);
        return command;
    }

    private static Option<string?> CreateOption(ServeKey key)
    {
        Option<string?> option = new(key.Option) { Description = key.Help, HelpName = key.Setting.Form };
        option.Validators.Add(result =>
        {
            if (result.Tokens is [var token] && key.Validate(token.Value) is string advice)
                result.AddError($"{key.Option} {token.Value}: {advice}");
        });
        return option;
    }

    private static int Run(ParseResult parsed)
    {
        bool check = parsed.GetValue(s_checkConfig),
            json = parsed.GetValue(s_json);
        if (json && !check)
            throw new UsageException("--json has no effect without --check-config: leave it out");

        Dictionary<string, string?> options = s_keys
            .Where(pair => parsed.GetValue(pair.Option) is not null)
            .ToDictionary(pair => pair.Key.Name, pair => parsed.GetValue(pair.Option));
        ServeConfiguration configuration = ServeConfiguration.Load(parsed.GetValue(s_config), options);
        if (check)
            Report(configuration, json);
        foreach (string problem in configuration.Problems)
            Console.Error.WriteLine("blkring: " + problem);
        if (configuration.Settings is not ServeSettings settings)
            return ExitCode.Usage;
        return check ? ExitCode.Ok : Daemon.Run(settings, XenBackend.Open);
    }

    private static void Report(ServeConfiguration configuration, bool json)
    {
        ConfigurationReport report = new(configuration.Values, configuration.Problems);
        if (json)
            report.WriteJson();
        else
            report.WriteTable();
    }
}
