using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

namespace Blkring.Commands.Demo.Options;

/// <summary>
/// The kinds of options that the demo has. Each reports a wrong value in one line that says which values are right.
/// </summary>
internal static class OptionKinds
{
    /// <summary>
    /// One of a few names. (The check that System.CommandLine has prints the names on several lines.)
    /// </summary>
    public static Option<string> Choice(string name, string description, string standard, params string[] values)
    {
        Option<string> option = new(name)
        {
            Description = description,
            HelpName = string.Join('|', values),
            DefaultValueFactory = _ => standard,
        };
        option.Validators.Add(result =>
        {
            if (result.Tokens is [var token] && !values.Contains(token.Value))
                result.AddError($"{name} {token.Value}: give {string.Join(", ", values[..^1])} or {values[^1]}");
        });
        return option;
    }

    /// <summary>A whole number from <paramref name="least"/> to <paramref name="most"/>.</summary>
    public static Option<int> Number(string name, string unit, string description, int standard, int least, int most)
    {
        return new Option<int>(name)
        {
            Description = description,
            HelpName = unit,
            DefaultValueFactory = _ => standard,
            CustomParser = Parse,
        };

        int Parse(ArgumentResult result)
        {
            if (TryParse(result, out int number) && number >= least && number <= most)
                return number;
            AddError(result, $"{name} {Text(result)}: give a whole number from {least} to {most}");
            return standard;
        }
    }

    /// <summary>A number of seconds above 0.</summary>
    public static Option<double> Seconds(string name, string description, double standard, double most)
    {
        return new Option<double>(name)
        {
            Description = description,
            HelpName = "S",
            DefaultValueFactory = _ => standard,
            CustomParser = Parse,
        };

        double Parse(ArgumentResult result)
        {
            if (
                double.TryParse(Text(result), NumberStyles.Float, CultureInfo.InvariantCulture, out double seconds)
                && seconds > 0
                && seconds <= most
            )
                return seconds;
            AddError(result, $"{name} {Text(result)}: give a number above 0, at most {most:F0}");
            return standard;
        }
    }

    /// <summary>A whole number above 0; without the option, null. The upper limit depends on other options.</summary>
    /// <param name="limit">The upper limit, in words.</param>
    public static Option<int?> OptionalNumber(string name, string description, string limit)
    {
        return new Option<int?>(name)
        {
            Description = description,
            HelpName = "N",
            CustomParser = Parse,
        };

        int? Parse(ArgumentResult result)
        {
            if (TryParse(result, out int number) && number > 0)
                return number;
            AddError(result, $"{name} {Text(result)}: give a whole number from 1 to {limit}");
            return null;
        }
    }

    /// <summary>Any whole number of 64 bits.</summary>
    public static Option<ulong> Seed(string name, string description, ulong standard)
    {
        return new Option<ulong>(name)
        {
            Description = description,
            HelpName = "N",
            DefaultValueFactory = _ => standard,
            CustomParser = Parse,
        };

        ulong Parse(ArgumentResult result)
        {
            if (ulong.TryParse(Text(result), NumberStyles.None, CultureInfo.InvariantCulture, out ulong seed))
                return seed;
            AddError(result, $"{name} {Text(result)}: give a whole number from 0 to {ulong.MaxValue}");
            return standard;
        }
    }

    private static string Text(ArgumentResult result) => result.Tokens[0].Value;

    private static bool TryParse(ArgumentResult result, out int number) =>
        int.TryParse(Text(result), NumberStyles.None, CultureInfo.InvariantCulture, out number);

    private static void AddError(ArgumentResult result, FormattableString message) =>
        result.AddError(message.ToString(CultureInfo.InvariantCulture));
}
