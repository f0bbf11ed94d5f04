using System.Text.RegularExpressions;

namespace Blkring.AbiTools.Import;

/// <summary>All targets' headers as one. <paramref name="Abis"/>: the spec's ABIs. <paramref name="Private"/>: structs left out. <paramref name="LeftOut"/>: constants without one value.</summary>
internal sealed record MergedHeaders(
    IReadOnlyList<string> Abis,
    IReadOnlyList<HeaderConstant> Constants,
    IReadOnlyList<HeaderTypedef> Typedefs,
    IReadOnlyList<MergedType> Types,
    IReadOnlyList<HeaderRing> Rings,
    IReadOnlyList<HeaderPrivate> Private,
    IReadOnlyList<string> LeftOut);

internal sealed record MergedType(HeaderType Type, IReadOnlyList<MergedMember> Members);

/// <summary>A member and the ABIs that have it; no ABIs: all.</summary>
internal sealed record MergedMember(HeaderMember Member, IReadOnlyList<string> Abis);

/// <summary>
/// Finds what differs by target: members that only some have, types whose width differs. The spec's ABIs are those of x86; Arm has the
/// layouts of x86_64 as a rule, which is proved here, and an ABI of its own where 32-bit Arm has not.
/// </summary>
internal static partial class TargetMerge
{
    /// <exception cref="HeaderImportException">The targets differ in a way that a spec cannot say.</exception>
    public static MergedHeaders Merge(IReadOnlyList<HeaderModel> models)
    {
        HeaderModel lead = models[0];
        CheckSameTypes(models);
        HeaderModel? arm64 = models.FirstOrDefault(m => m.Target == Target.Arm64);
        if (arm64 is not null && Difference(lead, arm64) is { } difference)
            throw new HeaderImportException($"{difference} differs between x86_64 and Arm of 64 bits, for which a spec has one ABI");
        bool armDiffers = models.FirstOrDefault(m => m.Target == Target.Arm32) is { } arm32 && Difference(lead, arm32) is not null;

        HeaderModel[] layouts = [.. models.Where(m => !m.Target.IsArm || (armDiffers && m.Target == Target.Arm32))];
        string[] abis = [.. layouts.SelectMany(m => m.Target.Abis).OrderBy(a => Array.IndexOf(Order, a))];
        return new MergedHeaders(
            abis,
            [.. lead.Constants.Where(c => HasOneValue(c, models))],
            lead.Typedefs,
            [.. lead.Types.Select(type => MergeType(type, layouts, abis))],
            lead.Rings,
            [.. models.SelectMany(m => m.LeftOut).DistinctBy(p => p.Name)],
            [.. lead.Constants.Where(c => !HasOneValue(c, models)).Select(c => c.Name)]);
    }

    private static readonly string[] Order = ["native", "x86_32", "x86_64", "arm"];

    private static void CheckSameTypes(IReadOnlyList<HeaderModel> models)
    {
        foreach (HeaderModel a in models)
        {
            foreach (HeaderModel b in models)
            {
                if (a.Types.FirstOrDefault(t => !b.TypeByName.ContainsKey(t.Name)) is { } missing)
                    throw new HeaderImportException($"{missing.At}: {missing.Name} exists for {a.Target.Triple} and not for {b.Target.Triple}; a spec's types exist in every ABI");
                if (a.Rings.FirstOrDefault(r => !b.Rings.Contains(r)) is { } ring)
                    throw new HeaderImportException($"the ring {ring.Name} is not the same for {a.Target.Triple} and {b.Target.Triple}");
            }
        }
    }

    /// <summary>The first member that two targets do not lay out alike, with its place; null when there is none.</summary>
    private static string? Difference(HeaderModel a, HeaderModel b)
    {
        foreach ((HeaderType left, HeaderType right) in a.Types.Join(b.Types, t => t.Name, t => t.Name, (l, r) => (l, r)))
        {
            HeaderMember? member = left.Members.FirstOrDefault(m => right.Members.All(o => !IsSame(m, o) || m.Bit != o.Bit))
                ?? right.Members.FirstOrDefault(m => left.Members.All(o => !IsSame(m, o)));
            if (member is not null)
                return $"{member.At}: {left.Name}.{member.Name}";
            if (left.Size != right.Size)
                return $"{left.At}: {left.Name}";
        }
        return null;
    }

    private static bool IsSame(HeaderMember a, HeaderMember b) => a.Path == b.Path && a.Type == b.Type && a.Count == b.Count && a.Bits == b.Bits;

    private static bool HasOneValue(HeaderConstant constant, IReadOnlyList<HeaderModel> models) =>
        models.All(m => m.ConstantsByName[constant.Name].Any(c => c.Value == constant.Value && c.Text == constant.Text));

    private static MergedType MergeType(HeaderType lead, HeaderModel[] models, string[] abis)
    {
        HeaderType[] types = [.. models.Select(m => m.TypeByName[lead.Name])];
        List<Merging> members = [.. types[0].Members.Select(m => new Merging(m, models[0].Target))];
        for (int i = 1; i < types.Length; i++)
            Merge(members, types[i], models[i].Target);
        ILookup<string, Merging> byName = members.Where(m => m.Member.Kind != MemberKind.Skip).ToLookup(m => m.Member.Name);
        HeaderType type = lead with { Align = types.Max(t => t.Align) };
        return new MergedType(type, [.. members.Select(m => new MergedMember(
            byName[m.Member.Name].Skip(1).Any() ? Named(m.Member, lead) : m.Member,
            m.Abis.Count == abis.Length ? [] : [.. abis.Where(m.Abis.Contains)]))]);
    }

    private static void Merge(List<Merging> members, HeaderType type, Target target)
    {
        // A member that earlier targets lack goes where it lies: behind the last one that both have.
        int last = -1;
        foreach (HeaderMember member in type.Members)
        {
            // As a rule it is the next one, whatever the number of members.
            int at = last + 1 < members.Count && IsSame(members[last + 1].Member, member) ? last + 1 : members.FindIndex(m => IsSame(m.Member, member));
            if (at >= 0)
                members[last = at].Add(member, target);
            else
                members.Insert(++last, new Merging(member, target));
        }
    }

    /// <summary>A member, and the ABIs that have it so far.</summary>
    private sealed class Merging(HeaderMember member, Target target)
    {
        public HeaderMember Member { get; private set; } = member;

        public HashSet<string> Abis { get; } = [.. target.Abis];

        /// <summary>What is aligned by nature for one target may need an attribute for another: the larger alignment holds for both, or the proof fails.</summary>
        public void Add(HeaderMember same, Target of)
        {
            Abis.UnionWith(of.Abis);
            if (same.Align is { } align && align > (Member.Align ?? 0))
                Member = Member with { Align = align };
        }
    }

    /// <summary>A member whose width differs by target is several to a spec: pd, a long, is pd_32 and pd_64.</summary>
    private static HeaderMember Named(HeaderMember member, HeaderType owner)
    {
        Match width = Width().Match(member.Type);
        return width.Success
            ? member with { Name = $"{member.Name}_{width.Value}" }
            : throw new HeaderImportException($"{member.At}: {owner.Name}.{member.Name} has another type or count for another target");
    }

    [GeneratedRegex("(?<=^u?int)[0-9]+(?=_t$)")]
    private static partial Regex Width();
}
