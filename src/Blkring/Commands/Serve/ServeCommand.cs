using System.CommandLine;
using Blkring.Settings;

namespace Blkring.Commands.Serve;

/// <summary>The command line of <c>blkring serve</c>: an option for each <see cref="ServeKey"/>.</summary>
internal static class ServeCommand
{
    private static readonly Option<string?> s_config = new("--config")
    {
        Description = $"The configuration file. Without it: {ServeConfiguration.StandardFile}, when it exists",
        HelpName = "FILE",
    };

    private static readonly Option<bool> s_checkConfig = new("--check-config")
    {
        Description = "Print the effective configuration and where each value comes from, and end",
    };

    private static readonly Option<bool> s_json = new("--json")
    {
        Description = "With --check-config: one JSON object instead of the table",
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

            Each option is also a key of the configuration file, as "MaxQueues", and of the environment, as
            {ServeConfiguration.EnvironmentPrefix}MAXQUEUES. Options win over the environment, which wins over the file.

            It ends at SIGTERM, SIGINT or SIGHUP, when all requests under way are answered; a second signal does not wait.

            Exit codes:
              0  drained and ended    1  something failed, or requests were still under way
              2  the configuration is wrong, or another daemon serves this    3  no Xen, or a library of it is missing
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
        string standard = key.Default.Length == 0 ? "" : $" [default: {key.Default}]";
        Option<string?> option = new(key.Option) { Description = key.Description + standard, HelpName = key.HelpName };
        option.Validators.Add(result =>
        {
            if (result.Tokens is [var token] && key.Complain(token.Value) is string advice)
                result.AddError($"{key.Option} {token.Value}: {advice}");
        });
        return option;
    }

    private static int Run(ParseResult parsed)
    {
        bool check = parsed.GetValue(s_checkConfig),
            json = parsed.GetValue(s_json);
        if (json && !check)
            throw new UsageException("--json means nothing without --check-config: leave it out");

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
