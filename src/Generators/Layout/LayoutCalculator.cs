using Blkring.Generators.Diagnostics;
using Blkring.Generators.Model;

namespace Blkring.Generators.Layout;

/// <summary>
/// C's layout rules (psABI of i386 and of x86-64). A member is at the next multiple of its alignment, which the type's
/// pack limits. A type has the largest alignment of its members, and its size is a multiple of that. Only the
/// alignment of 64-bit integers differs between ABIs. The rules of bit fields are in <see cref="LayoutCursor"/>.
/// </summary>
internal static class LayoutCalculator
{
    /// <summary>Lays out a spec whose names and types are checked, with its rings.</summary>
    public static LayoutResult Calculate(ProtocolSpec spec)
    {
        var problems = new LayoutProblems(spec);
        if (LayOutTypes(spec, problems) is not { } layout)
            return new LayoutResult(null, problems.ToArray());
        var types = new TypeTable(spec);
        var rings = spec
            .Rings.Select(ring => RingCalculator.Calculate(ring, spec, types, layout.Abis, problems))
            .OfType<RingLayout>()
            .ToEquatableArray();
        return new LayoutResult(problems.Any ? null : layout with { Rings = rings }, problems.ToArray());
    }

    /// <summary>
    /// Lays out the types and not the rings, so that a decoded message that cannot hold all forms of a request is not a
    /// problem.
    /// </summary>
    public static LayoutResult CalculateTypes(ProtocolSpec spec)
    {
        var problems = new LayoutProblems(spec);
        return new LayoutResult(LayOutTypes(spec, problems), problems.ToArray());
    }

    private static ProtocolLayout? LayOutTypes(ProtocolSpec spec, LayoutProblems problems)
    {
        var types = new TypeTable(spec);
        var calculators = spec.Abis.Select(abi => new AbiCalculator(spec, abi, types, problems)).ToList();
        if (problems.Any)
            return null;

        HashSet<string> shared = FindShared(spec, calculators);
        EquatableArray<AbiLayout> abis = spec
            .Abis.Zip(
                calculators,
                (abi, calculator) =>
                    new AbiLayout(
                        abi.Name,
                        CSharpName.Pascal(abi.Name),
                        abi.Align64,
                        abi.Doc,
                        spec.Composites.Where(c => c.IsIn(abi.Name))
                            .Select(c => MarkShared(calculator[c.Name], shared))
                            .ToEquatableArray()
                    )
            )
            .ToEquatableArray();

        return new ProtocolLayout(
            spec.Name,
            CSharpName.Pascal(spec.Name),
            spec.Header,
            spec.Doc,
            spec.Constants,
            abis,
            Rings: default
        );
    }

    /// <summary>
    /// A type is shared if all ABIs have it and lay out its fields alike, and the types inside it are shared too.
    /// </summary>
    private static HashSet<string> FindShared(ProtocolSpec spec, List<AbiCalculator> calculators)
    {
        var shared = new HashSet<string>(StringComparer.Ordinal);
        foreach (CompositeSpec composite in spec.Composites.Where(c => c.Abis.Count == 0))
        {
            TypeLayout first = calculators[0][composite.Name];
            // The alignment may differ without an effect on the fields, as in a struct of two 64-bit integers.
            if (calculators.All(c => c[composite.Name] with { Alignment = first.Alignment } == first))
                shared.Add(composite.Name);
        }
        bool changed = true;
        while (changed)
        {
            changed =
                shared.RemoveWhere(name =>
                    calculators[0][name].Fields.Any(f => f.Composite is not null && !shared.Contains(f.Composite))
                ) > 0;
        }
        return shared;
    }

    private static TypeLayout MarkShared(TypeLayout layout, HashSet<string> shared) =>
        layout with
        {
            IsShared = shared.Contains(layout.CName),
        };

    /// <summary>All types of a spec in one ABI.</summary>
    private sealed class AbiCalculator
    {
        private readonly ProtocolSpec _spec;
        private readonly AbiSpec _abi;
        private readonly TypeTable _types;
        private readonly LayoutProblems _problems;
        private readonly Dictionary<string, TypeLayout?> _layouts = new(StringComparer.Ordinal);

        public AbiCalculator(ProtocolSpec spec, AbiSpec abi, TypeTable types, LayoutProblems problems)
        {
            _spec = spec;
            _abi = abi;
            _types = types;
            _problems = problems;
            foreach (CompositeSpec composite in spec.Composites.Where(c => c.IsIn(abi.Name)))
                Layout(composite);
        }

        /// <summary>A type of this ABI, in a spec without problems.</summary>
        public TypeLayout this[string name] =>
            _layouts[name] ?? throw new InvalidOperationException($"{name} has no layout and no problem says why.");

        /// <summary>
        /// Null when the type has no layout. The recursion is as deep as the nesting of types, which is bounded and has
        /// no cycles.
        /// </summary>
        private TypeLayout? Layout(CompositeSpec composite)
        {
            if (_layouts.TryGetValue(composite.Name, out TypeLayout? known))
                return known;
            return _layouts[composite.Name] = Calculate(composite);
        }

        private TypeLayout? Calculate(CompositeSpec composite)
        {
            string name = CSharpName.Of(composite, _spec.Name);
            var fields = new List<FieldLayout>();
            var cursor = new LayoutCursor(composite.IsUnion, composite.Align ?? 1);
            foreach (MemberSpec part in composite.Parts.Where(m => m.IsIn(_abi.Name)))
            {
                if (ElementOf(part, composite.Pack) is not { } element)
                    return null;
                if (Place(part, element, cursor, composite.Pack is not null) is not { } bit)
                    return null;
                cursor.Take(bit, part.Bits ?? LayoutCursor.BitsPerByte * (long)element.Size * CountOf(part));
                if (cursor.Size > Limits.TypeSize)
                {
                    _problems.Add(Descriptors.TooLarge, composite, "name", composite.Name, $"{Limits.TypeSize}");
                    return null;
                }
                // On x86, an unnamed bit field does not align its struct.
                if (part.IsSkip)
                    continue;
                cursor.Align(element.Alignment);
                fields.Add(Field(part, composite, element, name, (int)bit));
            }
            if (fields.Count == 0)
            {
                _problems.Add(Descriptors.EmptyType, composite, "name", composite.Name, _abi.Name);
                return null;
            }
            TailLayout? tail = null;
            if (composite.Tail is { } last)
            {
                if (ElementOf(last, composite.Pack) is not { } element)
                    return null;
                cursor.Align(element.Alignment);
                tail = new TailLayout(
                    last.Name,
                    TypeNames.TailOffset(last.Name),
                    last.Type,
                    (int)LayoutCursor.RoundUp(cursor.Size, element.Alignment),
                    element.Size,
                    last.Doc
                );
            }
            return new TypeLayout(
                composite.Name,
                name,
                composite.IsUnion,
                IsShared: false,
                (int)LayoutCursor.RoundUp(cursor.Size, cursor.Alignment),
                cursor.Alignment,
                composite.Header,
                composite.Doc,
                fields.ToEquatableArray(),
                TypeNames.InC(composite, _spec),
                tail
            );
        }

        private int CountOf(MemberSpec member) => member.Count is null ? 1 : (int)_types.Value(member.Count)!.Value;

        private Element? ElementOf(MemberSpec member, int? pack)
        {
            if (_types.Scalar(member.Type) is { } scalar)
                return New(
                    null,
                    scalar.CSharp,
                    scalar.Size,
                    scalar.Size == sizeof(ulong) ? _abi.Align64 : scalar.Size,
                    scalar.IsSigned
                );
            return Layout(_types.Composite(member.Type)!) is { } inner
                ? New(inner.CName, inner.Name, inner.Size, inner.Alignment, false)
                : null;

            Element New(string? composite, string csharp, int size, int alignment, bool isSigned) =>
                new(
                    composite,
                    csharp,
                    size,
                    alignment,
                    member.Align ?? Math.Min(alignment, pack ?? int.MaxValue),
                    isSigned
                );
        }

        /// <summary>The first bit of a member; null when it cannot be at the offset that the spec gives.</summary>
        private long? Place(MemberSpec member, Element element, LayoutCursor cursor, bool isPacked)
        {
            if (member.Bits is { } width)
                return cursor.StartOfBits(width, element.Size, element.TypeAlignment, member.Align, isPacked);
            if (member.Offset is not { } offset)
                return LayoutCursor.RoundUp(cursor.EndByte, element.Alignment) * LayoutCursor.BitsPerByte;
            if (offset < cursor.EndByte)
                _problems.Add(
                    Descriptors.OverlappingOffset,
                    member,
                    "offset",
                    member.Name,
                    $"{offset}",
                    $"{cursor.EndByte}",
                    _abi.Name
                );
            else if (offset % element.Alignment != 0)
                _problems.Add(
                    Descriptors.MisalignedOffset,
                    member,
                    "offset",
                    member.Name,
                    $"{offset}",
                    $"{element.Alignment}",
                    _abi.Name
                );
            else
                return (long)offset * LayoutCursor.BitsPerByte;
            return null;
        }

        private FieldLayout Field(MemberSpec member, CompositeSpec owner, Element element, string typeName, int bit) =>
            new(
                member.Name,
                CSharpName.Of(member),
                member.Path,
                member.Type,
                element.Composite,
                element.CSharp,
                element.IsSigned,
                bit / LayoutCursor.BitsPerByte,
                element.Size,
                member.Count is null ? 0 : CountOf(member),
                member.Count is null ? "" : TypeNames.Array(typeName, member),
                member.Used is null ? null : CSharpName.Of(owner.Members.First(m => m.Name == member.Used)),
                member.Abis.Count == 0,
                member.Doc,
                bit % LayoutCursor.BitsPerByte,
                member.Bits ?? 0
            );

        private sealed record Element(
            string? Composite,
            string CSharp,
            int Size,
            int TypeAlignment,
            int Alignment,
            bool IsSigned
        );
    }
}
