namespace Blkring.Generators.Model;

/// <summary>An integer of a fixed size. <paramref name="Size"/> in bytes.</summary>
internal sealed record ScalarType(string Name, string CSharp, int Size, bool IsSigned);

/// <summary>Resolves the names of a spec.</summary>
internal sealed class TypeTable
{
    public const string Char = "char";

    /// <summary>The integers of stdint.h, and char as a byte, because its sign depends on the machine.</summary>
    private static readonly Dictionary<string, ScalarType> Scalars = new ScalarType[]
    {
        new("uint8_t", "byte", 1, false),
        new("int8_t", "sbyte", 1, true),
        new("uint16_t", "ushort", 2, false),
        new("int16_t", "short", 2, true),
        new("uint32_t", "uint", 4, false),
        new("int32_t", "int", 4, true),
        new("uint64_t", "ulong", 8, false),
        new("int64_t", "long", 8, true),
        new(Char, "byte", 1, false),
    }.ToDictionary(s => s.Name);

    private readonly Dictionary<string, TypedefSpec> _typedefs;
    private readonly Dictionary<string, CompositeSpec> _composites;
    private readonly Dictionary<string, ConstantSpec> _constants;

    /// <summary>The spec's names must be distinct.</summary>
    public TypeTable(ProtocolSpec spec)
    {
        _typedefs = spec.Typedefs.ToDictionary(t => t.Name);
        _composites = spec.Composites.ToDictionary(c => c.Name);
        _constants = spec.Constants.ToDictionary(c => c.Name);
    }

    public static bool IsScalar(string name) => Scalars.ContainsKey(name);

    public CompositeSpec? Composite(string name) =>
        _composites.TryGetValue(Target(name), out CompositeSpec? c) ? c : null;

    public ScalarType? Scalar(string name) => Scalars.TryGetValue(Target(name), out ScalarType? s) ? s : null;

    /// <summary>
    /// The value of an array's count or a variant's tag: a number or an integer constant.
    /// </summary>
    public decimal? Value(string text) =>
        CNumber.Parse(text) ?? (_constants.TryGetValue(text, out ConstantSpec? c) && c.Text is null ? c.Value : null);

    /// <summary>
    /// Follows typedefs. Stops at the first unknown name, or, in a cycle, after as many steps as there are typedefs.
    /// </summary>
    private string Target(string name)
    {
        for (int steps = 0; steps <= _typedefs.Count && _typedefs.TryGetValue(name, out TypedefSpec? typedef); steps++)
            name = typedef.Type;
        return name;
    }
}
