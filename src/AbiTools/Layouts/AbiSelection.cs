namespace Blkring.AbiTools.Layouts;

/// <summary>
/// The protocols, ABIs and structs to show; null for all. A name that none of the specs has is an error.
/// </summary>
public sealed record AbiSelection(string? Abi, string? Struct, string? Protocol = null)
{
    /// <summary>The specs of the selected protocol.</summary>
    /// <exception cref="SpecException">No spec has this protocol; the message lists the protocols.</exception>
    public IReadOnlyList<AbiSource> Of(IReadOnlyList<AbiSource> sources)
    {
        CheckName("protocol", Protocol, sources.Select(s => s.Model.Protocol));
        return [.. sources.Where(s => Protocol is null || s.Model.Protocol == Protocol)];
    }

    public bool HasAbi(string name) => Abi is null || Abi == name;

    public bool HasStruct(string name) => Struct is null || Struct == name;

    /// <summary>The selected structs, in the order of the spec.</summary>
    public IEnumerable<AbiStruct> Of(AbiModel model) => model.Structs.Where(s => HasAbi(s.Abi) && HasStruct(s.Name));

    /// <exception cref="SpecException">
    /// No spec has the ABI or the struct; the message lists those that exist.
    /// </exception>
    public void Check(IReadOnlyList<AbiSource> sources)
    {
        CheckName("ABI", Abi, sources.SelectMany(s => s.Model.Abis));
        CheckName("struct", Struct, sources.SelectMany(s => s.Model.Structs.Select(t => t.Name)));
        if (!sources.Any(s => Of(s.Model).Any()))
            throw new SpecException($"{Struct ?? "no struct"} is not in the ABI {Abi}");
    }

    private static void CheckName(string kind, string? name, IEnumerable<string> known)
    {
        string[] names = [.. known.Distinct()];
        if (name is not null && !names.Contains(name))
            throw new SpecException($"there is no {kind} '{name}': give one of {string.Join(", ", names)}");
    }
}
