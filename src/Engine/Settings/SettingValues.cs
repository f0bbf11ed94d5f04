namespace Blkring.Engine.Settings;

/// <summary>
/// The settings that were set by a file, the environment or options; all others have their defaults. The settings of
/// one device are a second instance that is laid <see cref="Over"/> the daemon's.
/// </summary>
public sealed class SettingValues
{
    private readonly Dictionary<Setting, object?> _values = [];

    public T Get<T>(Setting<T> setting) =>
        _values.TryGetValue(setting, out object? value) ? (T)value! : setting.Default;

    public bool Has(Setting setting) => _values.ContainsKey(setting);

    public void Set<T>(Setting<T> setting, T value) => _values[setting] = value;

    /// <returns>False, and nothing is set, for a text that is not one of the setting's values.</returns>
    public bool TrySet(Setting setting, string text)
    {
        if (!setting.TryParse(text, out object? value))
            return false;
        _values[setting] = value;
        return true;
    }

    /// <summary>These values, and those of <paramref name="others"/> for what is not set here.</summary>
    public SettingValues Over(SettingValues others)
    {
        SettingValues merged = new();
        foreach ((Setting setting, object? value) in others._values)
            merged._values[setting] = value;
        foreach ((Setting setting, object? value) in _values)
            merged._values[setting] = value;
        return merged;
    }
}
