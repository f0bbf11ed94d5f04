using System.Text.Json;
using System.Text.Json.Serialization;
using Blkring.Output;
using Blkring.Settings;
using Spectre.Console;

namespace Blkring.Commands.Serve;

/// <summary>The effective configuration, as <c>--check-config</c> prints it.</summary>
/// <param name="Problems">Empty when the daemon could start with it.</param>
internal sealed record ConfigurationReport(IReadOnlyList<EffectiveValue> Values, IReadOnlyList<string> Problems)
{
    public void WriteJson() =>
        Console.Out.WriteLine(JsonSerializer.Serialize(this, ConfigurationJson.Default.ConfigurationReport));

    public void WriteTable()
    {
        Table table = TextTable.Create(["key", "value", "from"]);
        foreach (EffectiveValue value in Values)
            table.AddText(value.Key, value.Value.Length == 0 ? "-" : value.Value, value.Source);
        TextConsole.Create().Write(table);
    }
}

[JsonSerializable(typeof(ConfigurationReport))]
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
internal sealed partial class ConfigurationJson : JsonSerializerContext;
