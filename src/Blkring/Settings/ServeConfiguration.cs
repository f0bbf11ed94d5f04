using System.Text.Json;
using Blkring.Interop;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Configuration.EnvironmentVariables;
using Microsoft.Extensions.Configuration.Json;
using Microsoft.Extensions.Configuration.Memory;

namespace Blkring.Settings;

/// <param name="Source">default, file PATH, environment NAME, or option --NAME</param>
internal sealed record EffectiveValue(string Key, string Value, string Source);

/// <summary>
/// The daemon's configuration: defaults, then a JSON file, then the environment, then options; each wins over those
/// before it. What is wrong is collected, all of it, and nothing is guessed: a key that is not known is an error.
/// </summary>
internal sealed class ServeConfiguration
{
    public const string StandardFile = "/etc/blkring/blkring.json";
    public const string EnvironmentPrefix = "BLKRING_";

    /// <summary>What a device may have of its own: Devices:7/51712:Cache.</summary>
    private const int DeviceKeyParts = 3;

    private readonly List<string> _problems = [];

    private ServeConfiguration() { }

    /// <summary>Lines for people; empty when all is well.</summary>
    public IReadOnlyList<string> Problems => _problems;

    /// <summary>Every setting, in the order of <see cref="ServeKey.All"/>, then those of devices.</summary>
    public IReadOnlyList<EffectiveValue> Values { get; private set; } = [];

    /// <summary>Null while there are problems.</summary>
    public ServeSettings? Settings { get; private set; }

    /// <param name="file">--config; null for <see cref="StandardFile"/> when it exists.</param>
    /// <param name="options">Values of the command line by <see cref="ServeKey.Name"/>.</param>
    public static ServeConfiguration Load(string? file, IReadOnlyDictionary<string, string?> options)
    {
        ServeConfiguration configuration = new();
        List<Source> sources =
        [
            new(
                "default",
                Fill(
                    ServeKey
                        .All.Where(key => key.Default.Length > 0)
                        .ToDictionary(key => key.Name, string? (key) => key.Default)
                )
            ),
        ];
        if (configuration.ReadFile(file) is Source fromFile)
            sources.Add(fromFile);
        sources.Add(
            new("environment", Read(new EnvironmentVariablesConfigurationSource { Prefix = EnvironmentPrefix }))
        );
        sources.Add(new("option", Fill(options)));
        foreach (Source source in sources)
            configuration.Check(source);

        ConfigurationRoot root = new([.. sources.Select(source => source.Provider)]);
        configuration.Values = [.. Effective(sources)];
        if (configuration._problems.Count > 0)
            return configuration;
        ServeSettings settings = root.Get<ServeSettings>() ?? new ServeSettings();
        configuration.CheckTogether(settings);
        if (configuration._problems.Count == 0)
            configuration.Settings = settings;
        return configuration;
    }

    private static ConfigurationProvider Read(IConfigurationSource source) =>
        Load((ConfigurationProvider)source.Build(new ConfigurationBuilder()));

    private static ConfigurationProvider Load(ConfigurationProvider provider)
    {
        provider.Load();
        return provider;
    }

    private static ConfigurationProvider Fill(IEnumerable<KeyValuePair<string, string?>> values) =>
        Read(new MemoryConfigurationSource { InitialData = values });

    private Source? ReadFile(string? file)
    {
        if (file is null && !File.Exists(StandardFile))
            return null;
        file ??= StandardFile;
        try
        {
            using FileStream stream = File.OpenRead(file);
            return new Source(
                $"file {file}",
                Load(new JsonOnce(new JsonStreamConfigurationSource { Stream = stream }))
            );
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _problems.Add(
                e is FileNotFoundException or DirectoryNotFoundException
                    ? $"the configuration {file} does not exist: write it, or leave --config out"
                    : $"the configuration {file} cannot be read: {(Directory.Exists(file) ? "it is a folder" : e.Message)}"
            );
        }
        // The provider wraps the parser's exception in some versions, and reports keys that come twice with one of its
        // own.
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
        // What follows repeats the place.
        static string FirstSentence(string message) => message.Split(" LineNumber:")[0];
    }

    private void Check(Source source)
    {
        foreach ((string path, string? value) in source.Leaves())
        {
            if (value is null && IsEmptySection(path))
                continue;
            (ServeKey? key, string? complaint) = Find(path);
            string? problem =
                key is null ? complaint
                : value is null ? "is null: leave it out"
                : Complain(key, value);
            if (problem is not null)
                _problems.Add($"{source.Locate(path)}: {problem}");
        }
    }

    // "Devices": {} and "7/xvda": {} say nothing, which is no mistake.
    private static bool IsEmptySection(string path) =>
        path.Split(':') is [var section, ..] parts
        && string.Equals(section, ServeKey.DevicesSection, StringComparison.OrdinalIgnoreCase)
        && (parts.Length == 1 || (parts.Length == 2 && DeviceName.TryParse(parts[1], out _)));

    private static string? Complain(ServeKey key, string value) =>
        key.Complain(value) is string advice ? $"'{Shown(value)}': {advice}" : null;

    /// <summary>The key that a path of the configuration means, or why there is none.</summary>
    private static (ServeKey? Key, string? Complaint) Find(string path)
    {
        string[] parts = path.Split(':');
        if (!string.Equals(parts[0], ServeKey.DevicesSection, StringComparison.OrdinalIgnoreCase))
            return FindIn(ServeKey.All, path, [.. ServeKey.All.Select(key => key.Name), ServeKey.DevicesSection]);
        if (parts.Length != DeviceKeyParts)
            return (null, $"give \"{ServeKey.DevicesSection}\": {{ \"7/xvda\": {{ \"Cache\": \"writeback\" }} }}");
        if (!DeviceName.TryParse(parts[1], out _))
            return (null, DeviceName.Advice(Shown(parts[1])));
        ServeKey[] keys = [.. ServeKey.All.Where(key => key.PerDevice)];
        return FindIn(keys, parts[2], [.. keys.Select(key => key.Name)]);
    }

    private static (ServeKey?, string?) FindIn(ServeKey[] keys, string name, string[] known)
    {
        ServeKey? key = keys.FirstOrDefault(key => string.Equals(key.Name, name, StringComparison.OrdinalIgnoreCase));
        return (key, key is null ? $"there is no such key; the nearest is {Nearest.Of(name, known)}" : null);
    }

    private void CheckTogether(ServeSettings settings)
    {
        if (settings is { ThreadsPerQueue: ThreadChoice.Dedicated, IoThreads: not null })
            _problems.Add("IoThreads means nothing when ThreadsPerQueue is dedicated: leave one out");
        int[] allowed = CpuAffinity.Allowed();
        foreach (int cpu in CpuList.Parse(settings.Cpus).Except(allowed))
            _problems.Add($"Cpus: CPU {cpu} is not one this process may run on ({string.Join(',', allowed)})");
        foreach (
            IGrouping<DeviceName, string> names in settings
                .Devices.Keys.GroupBy(DeviceName.Parse)
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
                ? new EffectiveValue(key.Name, Shown(value ?? ""), last.Describe(key.Name))
                : new EffectiveValue(key.Name, "", "default");
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
            yield return new EffectiveValue(path, Shown(value ?? ""), last.Describe(path));
        }
    }

    // A value may be anything: a terminal gets no control characters of it, and not all of a novel.
    private static string Shown(string value)
    {
        string clean = new([.. value.Select(c => char.IsControl(c) ? '?' : c)]);
        return clean.Length > 100 ? clean[..100] + "…" : clean;
    }

    /// <summary>The root loads every provider again, which a stream refuses: it was read.</summary>
    private sealed class JsonOnce(JsonStreamConfigurationSource source) : JsonStreamConfigurationProvider(source)
    {
        private bool _loaded;

        public override void Load()
        {
            if (_loaded)
                return;
            base.Load();
            _loaded = true;
        }
    }

    private sealed record Source(string Label, ConfigurationProvider Provider)
    {
        /// <summary>Where a person finds that key.</summary>
        public string Describe(string path) =>
            Label switch
            {
                "environment" =>
                    $"environment {EnvironmentPrefix}{path.Replace(":", "__", StringComparison.Ordinal).ToUpperInvariant()}",
                "option" => $"option {ServeKey.All.First(key => key.Name == path).Option}",
                _ => Label,
            };

        /// <summary>As <see cref="Describe"/>, with the key in any case.</summary>
        public string Locate(string path) =>
            Label is "environment" or "option" ? Describe(path) : $"{Label}, {Shown(path)}";

        /// <summary>Every value it gives. A section is no value, and an empty one gives nothing.</summary>
        public IEnumerable<(string Path, string? Value)> Leaves() => LeavesBelow(null);

        private IEnumerable<(string Path, string? Value)> LeavesBelow(string? parent)
        {
            foreach (string child in Provider.GetChildKeys([], parent).Distinct(StringComparer.OrdinalIgnoreCase))
            {
                string path = parent is null ? child : $"{parent}:{child}";
                (string Path, string? Value)[] below = [.. LeavesBelow(path)];
                foreach ((string Path, string? Value) leaf in below)
                    yield return leaf;
                // A value above others is one too: "Cache": "none" in one place and "Cache": { … } in the environment.
                if (Provider.TryGet(path, out string? value) && (below.Length == 0 || value is not null))
                    yield return (path, value);
            }
        }
    }
}
