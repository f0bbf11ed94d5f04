using System.Text.Json;
using System.Text.Json.Serialization;

namespace Blkring.AbiTools.Layouts;

/// <summary>Layouts for machines: an array of {struct, abi, size, alignment, members: [{name, type, offset, size}]}.</summary>
public static class LayoutJson
{
    public static string Write(IEnumerable<AbiModel> models, AbiSelection selection) =>
        JsonSerializer.Serialize([.. models.SelectMany(selection.Of).Select(ToRow)], LayoutJsonContext.Default.ListLayoutRow);

    private static LayoutRow ToRow(AbiStruct type) =>
        new(type.Name, type.Abi, type.Size, type.Alignment, [.. type.Members.Select(m => new LayoutMember(m.Name, m.Type, m.Offset, m.Size))]);
}

internal sealed record LayoutRow(string Struct, string Abi, int Size, int Alignment, IReadOnlyList<LayoutMember> Members);

internal sealed record LayoutMember(string Name, string Type, int Offset, int Size);

[JsonSerializable(typeof(List<LayoutRow>))]
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
internal sealed partial class LayoutJsonContext : JsonSerializerContext;
