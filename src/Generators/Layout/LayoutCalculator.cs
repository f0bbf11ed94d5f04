using Blkring.Generators.Diagnostics;
using Blkring.Generators.Model;

namespace Blkring.Generators.Layout;

/// <summary>
/// C's layout rules (psABI of i386 and of x86-64): a member lies at the next multiple of its alignment (at most the type's
/// pack), a type's alignment is the largest of its members', its size a multiple of it. Only the alignment of 64-bit integers differs between ABIs.
/// </summary>
internal static class LayoutCalculator
{
    /// <summary>
    /// Lays out a spec whose names and types are checked. Null when something has no layout; <paramref name="problems"/>
    /// then says what and where. It may be null for a spec that was checked so before.
    /// </summary>
    public static ProtocolLayout? Calculate(ProtocolSpec spec, ProblemList? problems)
    {
        var types = new TypeTable(spec);
        var calculators = spec.Abis.Select(abi => new AbiCalculator(spec, abi, types, problems)).ToList();
        if (calculators.Any(c => !c.IsSound))
            return null;

        HashSet<string> shared = FindShared(spec, calculators);
        EquatableArray<AbiLayout> abis = spec.Abis.Zip(calculators, (abi, calculator) => new AbiLayout(
            abi.Name,
            CSharpName.Pascal(abi.Name),
            abi.Align64,
            abi.Doc,
            spec.Composites.Select(c => MarkShared(calculator[c.Name], shared)).ToEquatableArray())).ToEquatableArray();

        var rings = spec.Rings.Select(ring => RingCalculator.Calculate(ring, spec, types, abis, problems)).ToList();
        return rings.Contains(null) ? null : new ProtocolLayout(
            spec.Name, CSharpName.Pascal(spec.Name), spec.Header, spec.Doc, spec.Constants, abis, rings.OfType<RingLayout>().ToEquatableArray());
    }

    /// <summary>A type is shared when its own fields lie alike in all ABIs and so do those of the types inside it.</summary>
    private static HashSet<string> FindShared(ProtocolSpec spec, List<AbiCalculator> calculators)
    {
        var shared = new HashSet<string>(StringComparer.Ordinal);
        foreach (CompositeSpec composite in spec.Composites)
        {
            TypeLayout first = calculators[0][composite.Name];
            // The alignment may differ where nothing in the type shows it: two 64-bit integers.
            if (calculators.All(c => c[composite.Name] with { Alignment = first.Alignment } == first))
                shared.Add(composite.Name);
        }
        bool changed = true;
        while (changed)
        {
            changed = shared.RemoveWhere(name => calculators[0][name].Fields.Any(f => f.Composite is not null && !shared.Contains(f.Composite))) > 0;
        }
        return shared;
    }

    private static TypeLayout MarkShared(TypeLayout layout, HashSet<string> shared) => layout with { IsShared = shared.Contains(layout.CName) };

    /// <summary>All types of a spec in one ABI.</summary>
    private sealed class AbiCalculator
    {
        private readonly ProtocolSpec _spec;
        private readonly AbiSpec _abi;
        private readonly TypeTable _types;
        private readonly ProblemList? _problems;
        private readonly Dictionary<string, TypeLayout?> _layouts = new(StringComparer.Ordinal);

        public AbiCalculator(ProtocolSpec spec, AbiSpec abi, TypeTable types, ProblemList? problems)
        {
            _spec = spec;
            _abi = abi;
            _types = types;
            _problems = problems;
            foreach (CompositeSpec composite in spec.Composites)
                Layout(composite);
        }

        public bool IsSound => !_layouts.ContainsValue(null);

        public TypeLayout this[string name] => _layouts[name]!;

        /// <summary>Null when the type has no layout. The recursion is as deep as types nest, which is bounded and free of cycles.</summary>
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
            // The end of what is laid out so far, and of the largest member: a union's members all start at 0.
            long end = 0;
            long size = 0;
            int alignment = 1;
            foreach (MemberSpec member in composite.Members.Where(m => m.Abis.Count == 0 || m.Abis.Contains(_abi.Name)))
            {
                if (ElementOf(member, composite.Pack) is not { } element)
                    return null;
                if (Place(member, element, end) is not { } offset)
                    return null;
                FieldLayout field = Field(member, element, name, offset);
                // In long: the limits bound each factor, so this cannot overflow, and the check below refuses what is too large.
                long fieldEnd = offset + ((long)field.ElementSize * Math.Max(field.Count, 1));
                end = composite.IsUnion ? 0 : fieldEnd;
                size = Math.Max(size, fieldEnd);
                alignment = Math.Max(alignment, element.Alignment);
                if (size > Limits.TypeSize)
                {
                    _problems?.Add(Descriptors.TooLarge, composite, "name", composite.Name, $"{Limits.TypeSize}");
                    return null;
                }
                fields.Add(field);
            }
            if (fields.Count == 0)
            {
                _problems?.Add(Descriptors.EmptyType, composite, "name", composite.Name, _abi.Name);
                return null;
            }
            TailLayout? tail = null;
            if (composite.Tail is { } last)
            {
                if (ElementOf(last, composite.Pack) is not { } element)
                    return null;
                alignment = Math.Max(alignment, element.Alignment);
                tail = new TailLayout(last.Name, TypeNames.TailOffset(last.Name), last.Type, (int)RoundUp(size, element.Alignment), element.Size, last.Doc);
            }
            return new TypeLayout(
                composite.Name, name, composite.IsUnion, IsShared: false, (int)RoundUp(size, alignment), alignment,
                composite.Header, composite.Doc, fields.ToEquatableArray(), TypeNames.InC(composite, _spec), tail);
        }

        private Element? ElementOf(MemberSpec member, int? pack)
        {
            int largest = pack ?? int.MaxValue;
            if (_types.Scalar(member.Type) is { } scalar)
                return new Element(null, scalar.CSharp, scalar.Size, Math.Min(scalar.Size == 8 ? _abi.Align64 : scalar.Size, largest), scalar.IsSigned);
            return Layout(_types.Composite(member.Type)!) is { } inner
                ? new Element(inner.CName, inner.Name, inner.Size, Math.Min(inner.Alignment, largest), false)
                : null;
        }

        private long? Place(MemberSpec member, Element element, long end)
        {
            long natural = RoundUp(end, element.Alignment);
            if (member.Offset is not { } offset)
                return natural;
            if (offset < end)
                _problems?.Add(Descriptors.OverlappingOffset, member, "offset", member.Name, $"{offset}", $"{end}", _abi.Name);
            else if (offset % element.Alignment != 0)
                _problems?.Add(Descriptors.MisalignedOffset, member, "offset", member.Name, $"{offset}", $"{element.Alignment}", _abi.Name);
            else
                return offset;
            return null;
        }

        private FieldLayout Field(MemberSpec member, Element element, string typeName, long offset) => new(
            member.Name,
            CSharpName.Pascal(member.Name),
            member.Path,
            member.Type,
            element.Composite,
            element.CSharp,
            element.IsSigned,
            // An offset beyond the limit is refused by the size check right after.
            (int)Math.Min(offset, int.MaxValue),
            element.Size,
            member.Count is null ? 0 : (int)_types.Value(member.Count)!.Value,
            member.Count is null ? "" : TypeNames.Array(typeName, member.Name),
            member.Used,
            member.Abis.Count == 0,
            member.Doc);

        private static long RoundUp(long value, int multiple) => (value + multiple - 1) / multiple * multiple;

        private sealed record Element(string? Composite, string CSharp, int Size, int Alignment, bool IsSigned);
    }
}
