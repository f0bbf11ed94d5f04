namespace Blkring.Generators.Model;

/// <summary>
/// Names a part of a spec by its place in the model: the same part in every model that is read from the same text.
/// <paramref name="Inner"/>: the index of the member or variant; null for the type or ring itself.
/// </summary>
internal sealed record SpecPart(SpecPartKind Kind, int Index, int? Inner)
{
    /// <summary>The place of <paramref name="part"/>, one of the spec's own objects.</summary>
    public static SpecPart Of(ProtocolSpec spec, object part)
    {
        for (int i = 0; i < spec.Composites.Count; i++)
        {
            CompositeSpec type = spec.Composites[i];
            if (ReferenceEquals(type, part))
                return new SpecPart(SpecPartKind.Type, i, null);
            if (IndexOf(type.Parts, part) is { } member)
                return new SpecPart(SpecPartKind.Type, i, member);
        }
        for (int i = 0; i < spec.Rings.Count; i++)
        {
            RingSpec ring = spec.Rings[i];
            if (ReferenceEquals(ring, part))
                return new SpecPart(SpecPartKind.Ring, i, null);
            if (IndexOf(ring.Variants, part) is { } variant)
                return new SpecPart(SpecPartKind.Ring, i, variant);
        }
        throw new ArgumentException($"{part} is no type, member, ring or variant of {spec.Name}.", nameof(part));
    }

    /// <summary>The object that lies at this place in <paramref name="spec"/>.</summary>
    public object In(ProtocolSpec spec) =>
        Kind == SpecPartKind.Type
            ? Inner is { } member
                ? spec.Composites[Index].Parts[member]
                : spec.Composites[Index]
            : Inner is { } variant
                ? spec.Rings[Index].Variants[variant]
                : spec.Rings[Index];

    // Two parts may be equal as values and still stand in two places.
    private static int? IndexOf<T>(EquatableArray<T> parts, object part)
        where T : class, IEquatable<T>
    {
        for (int i = 0; i < parts.Count; i++)
        {
            if (ReferenceEquals(parts[i], part))
                return i;
        }
        return null;
    }
}

internal enum SpecPartKind
{
    /// <summary>A struct or union, or one of its members.</summary>
    Type,

    /// <summary>A ring, or one of its variants.</summary>
    Ring,
}
