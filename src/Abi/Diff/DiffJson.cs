using System.Text.Json;
using System.Text.Json.Serialization;

namespace Blkring.AbiTools.Diff;

/// <summary>A comparison for machines: {verdict, differences: [{kind, protocol, subject, text, isWireCompatible, ...}]}; what does not apply is left out.</summary>
public static class DiffJson
{
    public static string Write(AbiComparison comparison) =>
        JsonSerializer.Serialize(new DiffReport(comparison.Verdict, comparison.Differences), DiffJsonContext.Default.DiffReport);
}

internal sealed record DiffReport(string Verdict, IReadOnlyList<AbiDifference> Differences);

[JsonSerializable(typeof(DiffReport))]
[JsonSourceGenerationOptions(
    WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
internal sealed partial class DiffJsonContext : JsonSerializerContext;
