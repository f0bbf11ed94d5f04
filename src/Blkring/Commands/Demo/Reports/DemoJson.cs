using System.Text.Json;
using System.Text.Json.Serialization;

namespace Blkring.Commands.Demo.Reports;

[JsonSerializable(typeof(DemoReport))]
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
internal sealed partial class DemoJson : JsonSerializerContext
{
    public static void Write(DemoReport report) =>
        Console.Out.WriteLine(JsonSerializer.Serialize(report, Default.DemoReport));
}
