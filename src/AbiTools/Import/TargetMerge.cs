using System.Globalization;
using System.Text.RegularExpressions;

namespace Blkring.AbiTools.Import;

/// <summary>
/// All targets' headers as one. <paramref name="Abis"/>: the spec's ABIs. <paramref name="Omissions"/>: structs left
/// out. <paramref name="Valueless"/>: constants without one value for all targets, left out too.
/// </summary>
internal sealed record MergedHeaders(
    IReadOnlyList<string> Abis,
    IReadOnlyList<HeaderConstant> Constants,
    IReadOnlyList<HeaderTypedef> Typedefs,
    IReadOnlyList<MergedType> Types,
    IReadOnlyList<HeaderRing> Rings,
    IReadOnlyList<HeaderOmission> Omissions,
    IReadOnlyList<string> Valueless
);

/// <summary>A struct or union and the ABIs that have it; no ABIs: all.</summary>
internal sealed record MergedType(HeaderType Type, IReadOnlyList<string> Abis, IReadOnlyList<MergedMember> Members);

/// <summary>A member and the ABIs that have it; no ABIs: all that have its struct.</summary>
internal sealed record MergedMember(HeaderMember Member, IReadOnlyList<string> Abis);

/// <summary>
/// Finds the differences between targets: types and members that only some have, and members whose type differs. The
/// spec's ABIs are those of x86 and of a 64-bit host. Arm usually has the latter. If not, 32-bit Arm gets its own ABI,
/// and so does 64-bit Arm: then no single ABI is that of a 64-bit host.
/// </summary>
internal sealed partial class TargetMerge
{
    private const string Native = "native";

    /// <summary>In the order of a spec.</summary>
    public static readonly IReadOnlyList<string> AbiNames = [Native, "x86_32", "x86_64", "arm", "arm64"];

    // The spec takes its order, names and documentation from the first target.
    private readonly HeaderModel _lead;
    private readonly HeaderModel[] _models;
    private readonly string[] _abis;

    private TargetMerge(IReadOnlyList<HeaderModel> models, IReadOnlySet<string> constants)
    {
        models = [.. models.Select(m => m.With([.. m.Types.Select(t => WithCounts(t, m, constants))]))];
        _lead = models[0];
        bool hostsDiffer = models.Any(m => m.Target == Target.Arm64 && Differ(_lead, m));
        bool arm32Differs = hostsDiffer || models.Any(m => m.Target == Target.Arm32 && Differ(_lead, m));
        _models = [.. models.Where(m => !m.Target.IsArm || (m.Target == Target.Arm64 ? hostsDiffer : arm32Differs))];
        _abis =
        [
            .. _models
                .SelectMany(m => m.Target.Abis)
                .Where(a => a != Native || !hostsDiffer)
                .Distinct()
                .OrderBy(a => AbiNames.ToList().IndexOf(a)),
        ];
    }

    /// <exception cref="HeaderImportException">The targets differ in a way that a spec cannot express.</exception>
    public static MergedHeaders Merge(IReadOnlyList<HeaderModel> models)
    {
        CheckSameRings(models);
        HeaderModel lead = models[0];
        HeaderConstant[] constants = [.. lead.Constants.Where(c => HasOneValue(c, models))];
        var merge = new TargetMerge(models, constants.Select(c => c.Name).ToHashSet());
        string[] types = [.. Merged(models.Select(m => m.Types.Select(t => t.Name)))];
        return new MergedHeaders(
            merge._abis,
            constants,
            lead.Typedefs,
            [.. types.Select(merge.MergeType)],
            lead.Rings,
            [.. models.SelectMany(m => m.Omissions).DistinctBy(o => o.Name).Where(o => !types.Contains(o.Name))],
            [.. models.SelectMany(m => m.Constants).Where(c => !HasOneValue(c, models)).Select(c => c.Name).Distinct()]
        );
    }

    private static void CheckSameRings(IReadOnlyList<HeaderModel> models)
    {
        foreach (HeaderModel a in models)
        {
            foreach (HeaderModel b in models)
            {
                if (a.Rings.FirstOrDefault(r => !b.Rings.Contains(r)) is { } ring)
                    throw new HeaderImportException(
                        $"the ring {ring.Name} is not the same for {a.Target.Triple} and {b.Target.Triple}"
                    );
            }
        }
    }

    /// <summary>
    /// Names in the order of the first list; a name that it lacks follows its predecessor in another list.
    /// </summary>
    private static List<string> Merged(IEnumerable<IEnumerable<string>> lists)
    {
        var merged = new List<string>();
        var known = new HashSet<string>(StringComparer.Ordinal);
        foreach (IEnumerable<string> list in lists)
        {
            string? previous = null;
            foreach (string name in list)
            {
                if (known.Add(name))
                    merged.Insert(
                        previous is null ? 0
                            : previous == merged.LastOrDefault() ? merged.Count
                            : merged.IndexOf(previous) + 1,
                        name
                    );
                previous = name;
            }
        }
        return merged;
    }

    /// <summary>Whether two targets have different types, or lay one out differently.</summary>
    private static bool Differ(HeaderModel a, HeaderModel b) =>
        a.Types.Count != b.Types.Count
        || a.Types.Any(type =>
            !b.TypeByName.TryGetValue(type.Name, out HeaderType? other) || Differ(a, type, b, other)
        );

    private static bool Differ(HeaderModel a, HeaderType left, HeaderModel b, HeaderType right) =>
        left.IsUnion != right.IsUnion
        || left.Size != right.Size
        || left.Members.Count != right.Members.Count
        || left.Members.Zip(right.Members)
            .Any(pair => !IsSame(a, pair.First, b, pair.Second) || pair.First.Bit != pair.Second.Bit);

    /// <summary>
    /// Targets may use different names for the same integer: xen_ulong_t is a long on x86 and a uint64_t on Arm.
    /// </summary>
    private static bool IsSame(HeaderModel ofA, HeaderMember a, HeaderModel ofB, HeaderMember b) =>
        a.Path == b.Path
        && a.Count == b.Count
        && a.Bits == b.Bits
        && (a.Type == b.Type || ofA.Underlying(a.Type) == ofB.Underlying(b.Type));

    private static bool HasOneValue(HeaderConstant constant, IReadOnlyList<HeaderModel> models) =>
        models.All(m =>
            m.ConstantsByName[constant.Name].Any(c => c.Value == constant.Value && c.Text == constant.Text)
        );

    /// <summary>An array is counted by a constant only if the constant has one value for all targets.</summary>
    private static HeaderType WithCounts(HeaderType type, HeaderModel model, IReadOnlySet<string> constants) =>
        type with
        {
            Members =
            [
                .. type.Members.Select(m =>
                    m.Count is { } count
                    && !constants.Contains(count)
                    && model.ConstantsByName[count].FirstOrDefault() is { } number
                        ? m with
                        {
                            Count = number.Value.ToString(CultureInfo.InvariantCulture),
                        }
                        : m
                ),
            ],
        };

    /// <exception cref="HeaderImportException">Its alignment differs between targets.</exception>
    private static int? AlignOf(HeaderType[] types, HeaderModel[] models)
    {
        int? align = types.Max(t => t.Align);
        int differs = align is null ? -1 : Array.FindIndex(types, t => t.Alignment < align);
        return differs < 0
            ? align
            : throw new HeaderImportException(
                $"{types[differs].At}: {types[differs].Name} is aligned to {types[differs].Alignment} for "
                    + $"{models[differs].Target.Triple} and to {align} for another target, "
                    + "by a rule of the machine that a spec cannot express"
            );
    }

    private MergedType MergeType(string name)
    {
        HeaderModel[] models = [.. _models.Where(m => m.TypeByName.ContainsKey(name))];
        HeaderType[] types = [.. models.Select(m => m.TypeByName[name])];
        List<Merging> members = [.. types[0].Members.Select(m => new Merging(m, models[0]))];
        for (int i = 1; i < types.Length; i++)
            MergeMembers(members, types[i], models[i]);

        ILookup<string, Merging> byName = members
            .Where(m => m.Member.Kind != MemberKind.Skip)
            .ToLookup(m => m.Member.Name);
        string[] abis = AbisOf(models);
        return new MergedType(
            types[0] with
            {
                Align = AlignOf(types, models),
            },
            abis.Length == _abis.Length ? [] : abis,
            [.. members.Select(m => ToMember(m, byName[m.Member.Name].ToList(), abis))]
        );
    }

    private static void MergeMembers(List<Merging> members, HeaderType type, HeaderModel model)
    {
        // A member that earlier targets lack is inserted after the last member that both targets have.
        int last = -1;
        foreach (HeaderMember member in type.Members)
        {
            // Usually it is the next one, so the search is short.
            int at =
                last + 1 < members.Count && members[last + 1].IsSame(member, model)
                    ? last + 1
                    : members.FindIndex(m => m.IsSame(member, model));
            if (at >= 0)
                members[last = at].Add(member, model);
            else
                members.Insert(++last, new Merging(member, model));
        }
    }

    private MergedMember ToMember(Merging merging, List<Merging> sameName, string[] abisOfType)
    {
        string[] abis = AbisOf(merging.Models);
        HeaderMember member = merging.Member;
        // The spec leaves out a typedef that the first target lacks.
        string type = _lead.Underlying(member.Type) == merging.Integer ? member.Type : merging.Integer;
        return new MergedMember(
            member with
            {
                Name = sameName.Count > 1 ? Distinct(merging, sameName, abis) : member.Name,
                Type = type,
            },
            abis.Length == abisOfType.Length ? [] : abis
        );
    }

    /// <summary>
    /// A member whose type differs between targets becomes several members: pd, a long, becomes pd_32 and pd_64. If the
    /// widths are equal, each has the name of its first ABI.
    /// </summary>
    private static string Distinct(Merging merging, List<Merging> sameName, string[] abis)
    {
        bool areWidths =
            sameName.All(m => Width().IsMatch(m.Integer))
            && sameName.DistinctBy(m => Width().Match(m.Integer).Value).Count() == sameName.Count;
        return $"{merging.Member.Name}_{(areWidths ? Width().Match(merging.Integer).Value : abis[0])}";
    }

    private string[] AbisOf(IReadOnlyList<HeaderModel> models) =>
        [.. _abis.Where(abi => models.Any(m => m.Target.Abis.Contains(abi)))];

    /// <summary>A member, and the targets that have it so far.</summary>
    private sealed class Merging(HeaderMember member, HeaderModel model)
    {
        public HeaderMember Member { get; private set; } = member;

        public string Integer { get; } = model.Underlying(member.Type);

        public List<HeaderModel> Models { get; } = [model];

        public bool IsSame(HeaderMember other, HeaderModel of) => TargetMerge.IsSame(Models[0], Member, of, other);

        /// <summary>
        /// An alignment that is natural for one target may need an attribute for another. The larger one is used for
        /// both; if that is wrong, the proof fails.
        /// </summary>
        public void Add(HeaderMember same, HeaderModel of)
        {
            Models.Add(of);
            if (same.Align is { } align && align > (Member.Align ?? 0))
                Member = Member with { Align = align };
        }
    }

    [GeneratedRegex("(?<=^u?int)[0-9]+(?=_t$)")]
    private static partial Regex Width();
}
