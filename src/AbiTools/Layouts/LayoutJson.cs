using System.Text.Json;
using System.Text.Json.Serialization;

namespace Blkring.AbiTools.Layouts;

/// <summary>
/// Layouts as JSON: an array of {struct, abi, size, alignment, members: [{name, type, offset, size}]}. A bit field also
/// has bitOffset, counted from the lowest bit of the byte at its offset, and bitWidth.
/// </summary>
public static class LayoutJson
{
    public static string Write(IEnumerable<AbiModel> models, AbiSelection selection) =>
        JsonSerializer.Serialize(
            [.. models.SelectMany(selection.Of).Select(ToRow)],
            LayoutJsonContext.Default.ListLayoutRow
        );

    private static LayoutRow ToRow(AbiStruct type) =>
        new(
            type.Name,
            type.Abi,
            type.Size,
            type.Alignment,
            [.. type.Members.Select(m => new LayoutMember(m.Name, m.Type, m.Offset, m.Size, m.BitOffset, m.BitWidth))]
        );
}

internal sealed record LayoutRow(
    string Struct,
    string Abi,
    int Size,
    int Alignment,
    IReadOnlyList<LayoutMember> Members
);

internal sealed record LayoutMember(string Name, string Type, int Offset, int Size, int? BitOffset, int? BitWidth);

[JsonSerializable(typeof(List<LayoutRow>))]
[JsonSourceGenerationOptions(
    WriteIndented = true,
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull
)]
internal sealed partial class LayoutJsonContext : JsonSerializerContext;
