using System.Text.Json;
using System.Text.Json.Serialization;

namespace Blkring.AbiTools.Diff;

/// <summary>
/// A comparison as JSON: {verdict, differences: [{kind, protocol, subject, text, isWireCompatible, ...}], refused:
/// [{protocol, message}]}; properties that do not apply are left out.
/// </summary>
public static class DiffJson
{
    public static string Write(AbiComparison comparison) =>
        JsonSerializer.Serialize(
            new DiffReport(
                comparison.Verdict,
                comparison.Differences,
                comparison.Refused.Count > 0 ? comparison.Refused : null
            ),
            DiffJsonContext.Default.DiffReport
        );
}

internal sealed record DiffReport(
    string Verdict,
    IReadOnlyList<AbiDifference> Differences,
    IReadOnlyList<AbiRefusal>? Refused
);

[JsonSerializable(typeof(DiffReport))]
[JsonSourceGenerationOptions(
    WriteIndented = true,
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull
)]
internal sealed partial class DiffJsonContext : JsonSerializerContext;
