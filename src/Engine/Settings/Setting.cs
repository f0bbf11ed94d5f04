using System.Globalization;

namespace Blkring.Engine.Settings;

/// <summary>
/// One setting as data: its name, accepted values, default and meaning. They are stated only here: the configuration
/// file, the environment, the options of the command line, the help and the documentation use them. The values that
/// were set are in <see cref="SettingValues"/>.
/// </summary>
public abstract class Setting
{
    /// <summary>The key in a configuration file: MaxQueues.</summary>
    public required string Name { get; init; }

    /// <summary>A placeholder for the value in help: N, SIZE, or the words themselves, none|writeback.</summary>
    public required string Form { get; init; }

    /// <summary>The unit of a number: µs, s. Empty where the description names it.</summary>
    public string Unit { get; init; } = "";

    /// <summary>What the value must be, as it follows the word "give": a whole number from 1 to 64.</summary>
    public required string Expected { get; init; }

    /// <summary>One or two sentences for help and documentation; no names of options.</summary>
    public required string Description { get; init; }

    /// <summary>The default as a user would write it; empty if only an absent value means it.</summary>
    public string DefaultText { get; init; } = "";

    /// <summary>The meaning of an empty <see cref="DefaultText"/>: one per CPU.</summary>
    public string WithoutValue { get; init; } = "";

    /// <summary>The default for people, with its unit.</summary>
    public string DescribeDefault() =>
        DefaultText.Length == 0 ? WithoutValue
        : Unit.Length == 0 ? DefaultText
        : $"{DefaultText} {Unit}";

    public bool IsValid(string text) => TryParse(text, out _);

    internal abstract bool TryParse(string text, out object? value);

    /// <summary>A whole number within limits.</summary>
    public static NumberSetting Number(
        string name,
        int min,
        int max,
        int defaultValue,
        string description,
        string form = "N",
        string unit = ""
    ) =>
        new(min, max, defaultValue)
        {
            Name = name,
            Form = form,
            Unit = unit,
            Expected = NumberSetting.Range(min, max),
            DefaultText = defaultValue.ToString(CultureInfo.InvariantCulture),
            Description = description,
        };

    /// <summary>A whole number within limits, or none.</summary>
    public static Setting<int?> OptionalNumber(
        string name,
        int min,
        int max,
        string withoutValue,
        string description,
        string form = "N"
    ) =>
        new(null, (text, out number) => (number = NumberSetting.Parse(text, min, max)) is not null)
        {
            Name = name,
            Form = form,
            Expected = NumberSetting.Range(min, max),
            WithoutValue = withoutValue,
            Description = description,
        };

    /// <summary>A limit per second, or a burst of one; 0 by default, which is no limit.</summary>
    public static Setting<long> Limit(string name, string description) =>
        new(0, (text, out number) => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number))
        {
            Name = name,
            Form = "N",
            Expected = "a whole number; 0 means no limit",
            DefaultText = "0",
            Description = description,
        };

    /// <summary>Like <see cref="Limit"/>, in bytes.</summary>
    public static Setting<long> SizeLimit(string name, string description) =>
        new(0, Sizes.TryParse)
        {
            Name = name,
            Form = "SIZE",
            Expected = "a number of bytes such as 200M, 1G or 1048576; 0 means no limit",
            DefaultText = "0",
            Description = description,
        };

    /// <summary>One of several words, in any case.</summary>
    /// <param name="defaultWord">One of them.</param>
    public static Setting<T> Choice<T>(
        string name,
        string defaultWord,
        string description,
        params (string Word, T Value)[] choices
    )
    {
        string[] words = [.. choices.Select(choice => choice.Word)];
        return new Setting<T>(choices[Array.IndexOf(words, defaultWord)].Value, TryChoose)
        {
            Name = name,
            Form = string.Join('|', words),
            Expected = $"{string.Join(", ", words[..^1])} or {words[^1]}",
            DefaultText = defaultWord,
            Description = description,
        };

        bool TryChoose(string text, out T value)
        {
            int index = Array.FindIndex(words, word => word.Equals(text, StringComparison.OrdinalIgnoreCase));
            value = choices[Math.Max(index, 0)].Value;
            return index >= 0;
        }
    }

    /// <summary>CPU numbers and ranges; none by default.</summary>
    public static Setting<IReadOnlyList<int>> Cpus(string name, string withoutValue, string description) =>
        new([], CpuList.TryParse)
        {
            Name = name,
            Form = "LIST",
            Expected = "CPU numbers and ranges such as 0,2-3",
            WithoutValue = withoutValue,
            Description = description,
        };

    /// <summary>Text that follows a rule.</summary>
    /// <param name="expected">The rule, see <see cref="Expected"/>.</param>
    public static Setting<string> Text(
        string name,
        string form,
        string defaultValue,
        Func<string, bool> rule,
        string expected,
        string description,
        string withoutValue = ""
    ) =>
        new(defaultValue, (text, out value) => rule(value = text))
        {
            Name = name,
            Form = form,
            Expected = expected,
            DefaultText = defaultValue,
            WithoutValue = withoutValue,
            Description = description,
        };
}

/// <typeparam name="T">The value as the engine uses it.</typeparam>
public class Setting<T> : Setting
{
    /// <returns>False for a text that is not one of the setting's values.</returns>
    public delegate bool Parser(string text, out T value);

    private readonly Parser _parser;

    internal Setting(T defaultValue, Parser parser) => (Default, _parser) = (defaultValue, parser);

    public T Default { get; }

    public bool TryParse(string text, out T value) => _parser(text, out value);

    internal sealed override bool TryParse(string text, out object? value)
    {
        bool valid = _parser(text, out T parsed);
        value = parsed;
        return valid;
    }
}

/// <summary>A whole number within limits.</summary>
public sealed class NumberSetting : Setting<int>
{
    internal NumberSetting(int min, int max, int defaultValue)
        : base(defaultValue, (text, out number) => TryParseWithin(text, min, max, out number)) =>
        (Min, Max) = (min, max);

    public int Min { get; }
    public int Max { get; }

    public int Clamp(int value) => Math.Clamp(value, Min, Max);

    internal static string Range(int min, int max) =>
        string.Create(CultureInfo.InvariantCulture, $"a whole number from {min} to {max}");

    internal static int? Parse(string text, int min, int max) =>
        TryParseWithin(text, min, max, out int number) ? number : null;

    private static bool TryParseWithin(string text, int min, int max, out int number) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number)
        && number >= min
        && number <= max;
}
