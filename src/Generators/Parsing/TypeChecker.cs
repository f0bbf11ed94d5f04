using System.Globalization;
using Blkring.Generators.Diagnostics;
using Blkring.Generators.Model;

namespace Blkring.Generators.Parsing;

/// <summary>
/// Checks every reference: types, counts, ABIs, and the members that count arrays. No type contains itself.
/// </summary>
internal static class TypeChecker
{
    public static void Check(ProtocolSpec spec, ProblemList problems)
    {
        var types = new TypeTable(spec);
        foreach (TypedefSpec typedef in spec.Typedefs)
            CheckTypedef(typedef, spec, types, problems);
        foreach (CompositeSpec composite in spec.Composites)
        {
            CheckPath(composite, spec, problems);
            CheckAbis(composite, composite.Abis, spec, problems);
            CheckTail(composite, spec, types, problems);
            foreach (MemberSpec member in composite.Parts)
            {
                CheckType(member, types, problems);
                CheckBits(member, types, problems);
                CheckCount(member, types, problems);
                CheckAbis(member, member.Abis, spec, problems);
                CheckTypeAbis(member, composite, spec, types, problems);
                CheckUsed(member, composite, types, problems);
            }
        }
        if (!problems.Any)
            CheckNesting(spec, types, problems);
    }

    private static void CheckTypedef(TypedefSpec typedef, ProtocolSpec spec, TypeTable types, ProblemList problems)
    {
        if (types.Scalar(typedef.Name) is not null || types.Composite(typedef.Name) is not null)
            return;
        if (spec.Typedefs.Any(t => t.Name == typedef.Type))
            problems.Add(Descriptors.TypeCycle, typedef, "type", typedef.Name, $"through {typedef.Type}");
        else
            problems.Add(Descriptors.UnknownType, typedef, "type", typedef.Type);
    }

    private static void CheckPath(CompositeSpec composite, ProtocolSpec spec, ProblemList problems)
    {
        // The path of the owner itself must begin with a tag or a typedef, so that one step reaches a name of C.
        string? owner = composite.Path?.Split('.')[0];
        bool isTypedef = owner == composite.Path;
        if (!isTypedef && !spec.Composites.Any(c => c.Name == owner && c.Path?.Contains('.') != true))
            problems.Add(Descriptors.UnknownPath, composite, "path", composite.Path!);
    }

    private static void CheckTail(CompositeSpec composite, ProtocolSpec spec, TypeTable types, ProblemList problems)
    {
        if (composite.Tail is not { } tail)
            return;
        CheckType(tail, types, problems);
        CheckTypeAbis(tail, composite, spec, types, problems);
        // The elements of an array would overlap each other's tails.
        bool isElement = spec.Composites.Any(c =>
            c.Members.Any(m => m.Count is not null && types.Composite(m.Type)?.Name == composite.Name)
        );
        if (
            isElement
            || spec.Rings.Any(r => r.Header == composite.Name)
            || spec.Composites.Any(c => c.Tail is { } t && types.Composite(t.Type)?.Name == composite.Name)
        )
            problems.Add(
                Descriptors.BadTail,
                tail,
                "name",
                $"'{composite.Name}' is an array's element or a ring's header"
            );
    }

    private static void CheckType(MemberSpec member, TypeTable types, ProblemList problems)
    {
        if (types.Scalar(member.Type) is null && types.Composite(member.Type) is null)
            problems.Add(Descriptors.UnknownType, member, "type", member.Type);
    }

    private static void CheckBits(MemberSpec member, TypeTable types, ProblemList problems)
    {
        if (member.Bits is not { } bits)
            return;
        string? fault =
            member.Count is not null || member.Offset is not null
                ? "it has a count or an offset, which C gives no bit field"
            : types.Scalar(member.Type) is not { } integer ? $"{member.Type} is no integer"
            : integer.Name == TypeTable.Char ? "whether a char has a sign differs between machines"
            : bits > 8 * integer.Size ? $"{member.Type} has {8 * integer.Size} bits"
            : null;
        if (fault is not null)
            problems.Add(Descriptors.BadBits, member, "bits", bits.ToString(CultureInfo.InvariantCulture), fault);
    }

    private static void CheckCount(MemberSpec member, TypeTable types, ProblemList problems)
    {
        if (member.Count is null)
            return;
        if (types.Value(member.Count) is not { } count)
            problems.Add(Descriptors.UnknownCount, member, "count", member.Count);
        else if (count is < 1 or > Limits.ArrayCount)
            problems.Add(
                Descriptors.BadCount,
                member,
                "count",
                member.Count,
                Limits.ArrayCount.ToString(CultureInfo.InvariantCulture)
            );
    }

    private static void CheckAbis(object part, EquatableArray<string> abis, ProtocolSpec spec, ProblemList problems)
    {
        foreach (string abi in abis.Where(name => spec.Abis.All(a => a.Name != name)))
            problems.Add(Descriptors.UnknownAbi, part, "abi", abi, string.Join(", ", spec.Abis.Select(a => a.Name)));
    }

    /// <summary>A member's type exists in every ABI that has the member.</summary>
    private static void CheckTypeAbis(
        MemberSpec member,
        CompositeSpec owner,
        ProtocolSpec spec,
        TypeTable types,
        ProblemList problems
    )
    {
        if (
            types.Composite(member.Type) is { } type
            && spec.Abis.FirstOrDefault(a => owner.IsIn(a.Name) && member.IsIn(a.Name) && !type.IsIn(a.Name))
                is { } without
        )
            problems.Add(
                Descriptors.TypeNotInAbi,
                member,
                "type",
                $"'{owner.Name}.{member.Name}'",
                member.Type,
                without.Name
            );
    }

    private static void CheckUsed(MemberSpec array, CompositeSpec composite, TypeTable types, ProblemList problems)
    {
        if (array.Used is null)
            return;
        MemberSpec? counter = composite.Members.FirstOrDefault(m => m.Name == array.Used);
        string? fault =
            array.Count is null ? "this member is no array"
            : composite.IsUnion ? "a union's members overlap, so none can count another"
            : counter is null ? "there is no such member"
            : counter.Count is not null || types.Scalar(counter.Type) is not { IsSigned: false }
                ? "that member cannot count"
            // The decoded message lacks a counter that some ABIs lack.
            : counter.Abis.Count > 0 ? "that member does not exist in every ABI"
            : null;
        if (fault is not null)
            problems.Add(Descriptors.BadUsed, array, "used", array.Used, array.Name, fault);
    }

    /// <summary>
    /// Assigns each type its depth, from the types without inner types outwards. The types that remain are on a cycle
    /// or contain one.
    /// </summary>
    private static void CheckNesting(ProtocolSpec spec, TypeTable types, ProblemList problems)
    {
        Dictionary<string, string[]> inner = spec.Composites.ToDictionary(
            c => c.Name,
            c =>
                c.Members.Concat(c.Tail is null ? [] : [c.Tail])
                    .Select(m => types.Composite(m.Type)?.Name)
                    .OfType<string>()
                    .Distinct()
                    .ToArray()
        );
        var depths = new Dictionary<string, int>(StringComparer.Ordinal);
        List<CompositeSpec> left = [.. spec.Composites];
        bool progress = true;
        while (progress)
        {
            CompositeSpec[] ready = [.. left.Where(c => inner[c.Name].All(depths.ContainsKey))];
            foreach (CompositeSpec composite in ready)
            {
                int depth = inner[composite.Name].Select(name => depths[name]).DefaultIfEmpty(0).Max() + 1;
                depths[composite.Name] = depth;
                if (depth == Limits.NestingDepth + 1)
                    problems.Add(
                        Descriptors.NestedTooDeep,
                        composite,
                        "name",
                        composite.Name,
                        Limits.NestingDepth.ToString(CultureInfo.InvariantCulture)
                    );
            }
            progress = left.RemoveAll(c => depths.ContainsKey(c.Name)) > 0;
        }
        foreach (CompositeSpec composite in left.Where(c => Reaches(c.Name, c.Name, inner)))
            problems.Add(
                Descriptors.TypeCycle,
                composite,
                "name",
                composite.Name,
                $"through {inner[composite.Name].First(i => i == composite.Name || Reaches(i, composite.Name, inner))}"
            );
    }

    private static bool Reaches(string from, string to, Dictionary<string, string[]> inner)
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        var next = new Stack<string>(inner[from]);
        while (next.Count > 0)
        {
            string name = next.Pop();
            if (name == to)
                return true;
            if (!seen.Add(name))
                continue;
            foreach (string further in inner[name])
                next.Push(further);
        }
        return false;
    }
}
