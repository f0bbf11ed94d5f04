using Blkring.Generators.Layout;
using Blkring.Generators.Model;

namespace Blkring.AbiTools.Import;

/// <summary>
/// The spec, laid out by the generator's own rules, against the compiler's layouts for every target: a struct that is not the same to
/// the byte is refused, whatever the reason (an alignment attribute, a member within the integer of bit fields, a rule of the machine).
/// </summary>
internal static class LayoutProof
{
    /// <exception cref="HeaderImportException">A layout differs.</exception>
    public static void Check(ProtocolSpec spec, IReadOnlyList<HeaderModel> models)
    {
        ProtocolLayout layout = LayoutCalculator.Calculate(spec, problems: null)
            ?? throw new InvalidOperationException("A spec without problems has a layout.");
        Dictionary<string, Dictionary<string, TypeLayout>> abis = layout.Abis.ToDictionary(a => a.Name, a => a.Types.ToDictionary(t => t.CName));
        foreach (HeaderModel model in models)
        {
            // Arm without an ABI of its own has the native layouts.
            string[] own = [.. model.Target.Abis.Where(abis.ContainsKey)];
            foreach (string abi in own.Length > 0 ? own : ["native"])
            {
                foreach (HeaderType type in model.Types)
                    Check(type, abis[abi][type.Name], model.Target, spec.Rings.Any(r => r.Header == type.Name));
            }
        }
    }

    private static void Check(HeaderType type, TypeLayout ours, Target target, bool isRingHeader)
    {
        foreach (HeaderMember member in type.Members)
        {
            int? offset = member.IsTail
                ? ours.Tail?.Offset
                : ours.Fields.FirstOrDefault(f => f.CPath == member.Path && f.Size == member.Size)?.Offset;
            if (offset != member.Offset)
                throw Refused($"{member.At}: {type.Name}.{member.Name}", $"offset {member.Offset}, and {offset?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "no such member"}", target);
        }
        int fields = ours.Fields.Count + (ours.Tail is null ? 0 : 1);
        if (fields != type.Members.Count)
            throw Refused($"{type.At}: {type.Name}", $"{type.Members.Count} members, and {fields}", target);
        // In C a shared ring's header ends with its first entry; what precedes that is proved by its members.
        if (!isRingHeader && ours.Size != type.Size)
            throw Refused($"{type.At}: {type.Name}", $"size {type.Size}, and {ours.Size}", target);
    }

    private static HeaderImportException Refused(string what, string difference, Target target) => new(
        $"{what} cannot be proved for {target.Triple}: {difference} by the rules of a spec; is there an alignment attribute, or a member within the integer of bit fields?");
}
