using System.Text.Json;
using Blkring.Engine.Reactors;
using Blkring.Engine.Settings;
using Blkring.Interop;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Configuration.EnvironmentVariables;
using Microsoft.Extensions.Configuration.Json;
using Microsoft.Extensions.Configuration.Memory;

namespace Blkring.Settings;

/// <param name="Source">default, file PATH, environment NAME, or option --NAME.</param>
internal sealed record EffectiveValue(string Key, string Value, string Source);

/// <summary>
/// The daemon's configuration: defaults, then a JSON file, then the environment, then options; each overrides those
/// before it. All problems are collected and nothing is guessed: an unknown key is an error.
/// </summary>
internal sealed class ServeConfiguration
{
    public const string StandardFile = "/etc/blkring/blkring.json";
    public const string EnvironmentPrefix = "BLKRING_";

    /// <summary>A setting of one device: Devices:7/51712:Cache.</summary>
    private const int DeviceKeyParts = 3;

    private readonly List<string> _problems = [];
    private readonly SettingValues _values = new();
    private readonly Dictionary<DeviceKey, SettingValues> _devices = [];

    /// <summary>The names of the sections of devices, as written. A device must have only one section.</summary>
    private readonly HashSet<string> _deviceSections = new(StringComparer.OrdinalIgnoreCase);

    private ServeConfiguration() { }

    /// <summary>One line per problem, for people.</summary>
    public IReadOnlyList<string> Problems => _problems;

    /// <summary>All settings in the order of <see cref="ServeKey.All"/>, then those of devices.</summary>
    public IReadOnlyList<EffectiveValue> Values { get; private set; } = [];

    /// <summary>Null while there are problems.</summary>
    public ServeSettings? Settings { get; private set; }

    /// <param name="file">--config; null for <see cref="StandardFile"/> when it exists.</param>
    /// <param name="options">Values of the command line by <see cref="ServeKey.Name"/>.</param>
    public static ServeConfiguration Load(string? file, IReadOnlyDictionary<string, string?> options)
    {
        ServeConfiguration configuration = new();
        List<Source> sources = [];
        if (configuration.ReadFile(file) is Source fromFile)
            sources.Add(fromFile);
        sources.Add(
            new("environment", Read(new EnvironmentVariablesConfigurationSource { Prefix = EnvironmentPrefix }))
        );
        sources.Add(new("option", Read(new MemoryConfigurationSource { InitialData = options })));
        foreach (Source source in sources)
            configuration.Take(source);
        configuration.Values = [.. Effective(sources)];
        if (configuration._problems.Count == 0)
            configuration.CheckTogether();
        if (configuration._problems.Count == 0)
            configuration.Settings = new ServeSettings(configuration._values, configuration._devices);
        return configuration;
    }

    private static ConfigurationProvider Read(IConfigurationSource source)
    {
        ConfigurationProvider provider = (ConfigurationProvider)source.Build(new ConfigurationBuilder());
        provider.Load();
        return provider;
    }

    private Source? ReadFile(string? file)
    {
        if (file is null && !File.Exists(StandardFile))
            return null;
        file ??= StandardFile;
        try
        {
            using FileStream stream = File.OpenRead(file);
            return new Source($"file {file}", Read(new JsonStreamConfigurationSource { Stream = stream }));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            string reason = Directory.Exists(file) ? "it is a folder" : e.Message;
            _problems.Add(
                e is FileNotFoundException or DirectoryNotFoundException
                    ? $"the configuration {file} does not exist: write it, or leave --config out"
                    : $"the configuration {file} cannot be read: {reason}"
            );
        }
        // The provider wraps the parser's exception in some versions, and reports duplicate keys with an exception of
        // its own.
        catch (Exception e) when (e is JsonException or FormatException or InvalidDataException)
        {
            _problems.Add(
                FindJsonException(e) is JsonException { LineNumber: long line } json
                    ? $"{file}, line {line + 1}: {FirstSentence(json.Message)}"
                    : $"{file}: {e.Message}"
            );
        }
        return null;

        static JsonException? FindJsonException(Exception? e) =>
            e is null or JsonException ? e as JsonException : FindJsonException(e.InnerException);
        // The rest of the message repeats the place.
        static string FirstSentence(string message) => message.Split(" LineNumber:")[0];
    }

    /// <summary>Sets what the source gives, over the sources before it.</summary>
    private void Take(Source source)
    {
        foreach ((string path, string? value) in source.Leaves())
        {
            (ServeKey? key, DeviceKey? device, string? problem) = Find(path);
            if (device is not null)
                _deviceSections.Add(path.Split(':')[1]);
            if (value is null && IsEmptySection(path))
                continue;
            if (key is not null)
                problem =
                    value is null ? "is null: leave it out"
                    : ValuesOf(device).TrySet(key.Setting, value) ? null
                    : $"'{LogText(value)}': {key.Validate(value)}";
            if (problem is not null)
                _problems.Add($"{source.Locate(path)}: {problem}");
        }
    }

    private SettingValues ValuesOf(DeviceKey? device)
    {
        if (device is not { } name)
            return _values;
        if (!_devices.TryGetValue(name, out SettingValues? own))
            _devices.Add(name, own = new SettingValues());
        return own;
    }

    // "Devices": {} and "7/xvda": {} set nothing, and are not errors.
    private static bool IsEmptySection(string path) =>
        path.Split(':') is [var section, ..] parts
        && string.Equals(section, ServeKey.DevicesSection, StringComparison.OrdinalIgnoreCase)
        && (parts.Length == 1 || (parts.Length == 2 && DeviceKey.TryParse(parts[1]) is not null));

    /// <summary>The key that a path of the configuration names, and the device if the path names one.</summary>
    /// <returns>If there is no such key: null, and the problem with the path.</returns>
    private static (ServeKey? Key, DeviceKey? Device, string? Problem) Find(string path)
    {
        string[] parts = path.Split(':');
        if (!string.Equals(parts[0], ServeKey.DevicesSection, StringComparison.OrdinalIgnoreCase))
        {
            (ServeKey? ours, string? unknown) = FindIn(ServeKey.All, path, [ServeKey.DevicesSection]);
            return (ours, null, unknown);
        }
        DeviceKey? device = parts.Length > 1 ? DeviceKey.TryParse(parts[1]) : null;
        if (parts.Length != DeviceKeyParts)
            return (
                null,
                device,
                $"give \"{ServeKey.DevicesSection}\": {{ \"7/xvda\": {{ \"Cache\": \"writeback\" }} }}"
            );
        if (device is null)
            return (null, null, DeviceKey.Advice(LogText(parts[1])));
        (ServeKey? key, string? problem) = FindIn([.. ServeKey.All.Where(key => key.PerDevice)], parts[2], []);
        return (key, device, problem);
    }

    /// <param name="sections">Known names that are not keys.</param>
    private static (ServeKey?, string?) FindIn(ServeKey[] keys, string name, string[] sections)
    {
        ServeKey? key = keys.FirstOrDefault(key => string.Equals(key.Name, name, StringComparison.OrdinalIgnoreCase));
        return key is not null
            ? (key, null)
            : (
                null,
                $"there is no such key; the nearest is {Nearest.Of(name, [.. keys.Select(k => k.Name), .. sections])}"
            );
    }

    private void CheckTogether()
    {
        if (_values.Get(ReactorSettings.ThreadsPerQueue) && _values.Has(ReactorSettings.IoThreads))
            _problems.Add("IoThreads has no effect when ThreadsPerQueue is dedicated: leave one out");
        int[] allowed = CpuAffinity.Allowed();
        foreach (int cpu in _values.Get(ReactorSettings.Cpus).Except(allowed))
            _problems.Add($"Cpus: this process may not run on CPU {cpu}; it may use {string.Join(',', allowed)}");
        foreach (
            IGrouping<DeviceKey, string> names in _deviceSections
                .GroupBy(DeviceKey.Parse)
                .Where(names => names.Count() > 1)
        )
            _problems.Add($"Devices: {string.Join(" and ", names.Order(StringComparer.Ordinal))} are the same device");
    }

    private static IEnumerable<EffectiveValue> Effective(List<Source> sources)
    {
        foreach (ServeKey key in ServeKey.All)
        {
            Source? last = sources.FindLast(source => source.Provider.TryGet(key.Name, out _));
            yield return last is not null && last.Provider.TryGet(key.Name, out string? value)
                ? new EffectiveValue(key.Name, LogText(value ?? ""), last.Describe(key.Name))
                : new EffectiveValue(key.Name, key.Setting.DefaultText, "default");
        }
        IEnumerable<string> ofDevices = sources
            .SelectMany(source => source.Leaves())
            .Select(leaf => leaf.Path)
            .Where(path => path.StartsWith(ServeKey.DevicesSection + ":", StringComparison.OrdinalIgnoreCase));
        foreach (
            string path in ofDevices.Distinct(StringComparer.OrdinalIgnoreCase).Order(StringComparer.OrdinalIgnoreCase)
        )
        {
            Source last = sources.FindLast(source => source.Provider.TryGet(path, out _))!;
            last.Provider.TryGet(path, out string? value);
            yield return new EffectiveValue(path, LogText(value ?? ""), last.Describe(path));
        }
    }

    // A value may be anything: a terminal must get no control characters, and at most one line.
    private static string LogText(string value)
    {
        string clean = new([.. value.Select(c => char.IsControl(c) ? '?' : c)]);
        return clean.Length > 100 ? clean[..100] + "…" : clean;
    }

    private sealed record Source(string Label, ConfigurationProvider Provider)
    {
        /// <summary>Where the key was set.</summary>
        public string Describe(string path) =>
            Label switch
            {
                "environment" => $"environment {EnvironmentPrefix}"
                    + path.Replace(":", "__", StringComparison.Ordinal).ToUpperInvariant(),
                "option" => $"option {ServeKey.All.First(key => key.Name == path).Option}",
                _ => Label,
            };

        /// <summary>Like <see cref="Describe"/>, but always with the key.</summary>
        public string Locate(string path) =>
            Label is "environment" or "option" ? Describe(path) : $"{Label}, {LogText(path)}";

        /// <summary>All values and their paths. A section is no value.</summary>
        public IEnumerable<(string Path, string? Value)> Leaves() => LeavesBelow(null);

        private IEnumerable<(string Path, string? Value)> LeavesBelow(string? parent)
        {
            foreach (string child in Provider.GetChildKeys([], parent).Distinct(StringComparer.OrdinalIgnoreCase))
            {
                string path = parent is null ? child : $"{parent}:{child}";
                (string Path, string? Value)[] below = [.. LeavesBelow(path)];
                foreach ((string Path, string? Value) leaf in below)
                    yield return leaf;
                // A section may have a value as well: BLKRING_CACHE beside BLKRING_CACHE__0.
                if (Provider.TryGet(path, out string? value) && (below.Length == 0 || value is not null))
                    yield return (path, value);
            }
        }
    }
}
