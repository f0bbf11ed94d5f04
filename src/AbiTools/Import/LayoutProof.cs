using Blkring.Generators.Layout;
using Blkring.Generators.Model;

namespace Blkring.AbiTools.Import;

/// <summary>
/// Compares the spec, laid out by the generator's rules, with the compiler's layouts for every target. A struct that
/// differs by a bit is refused, whatever the reason: an attribute that was not found when its members were read, or a
/// rule of the machine.
/// </summary>
internal static class LayoutProof
{
    /// <exception cref="HeaderImportException">A layout differs.</exception>
    public static void Check(LaidOutSpec source, IReadOnlyList<HeaderModel> models)
    {
        (ProtocolSpec spec, ProtocolLayout layout) = source;
        Dictionary<string, Dictionary<string, TypeLayout>> abis = layout.Abis.ToDictionary(
            a => a.Name,
            a => a.Types.ToDictionary(t => t.CName)
        );
        foreach (HeaderModel model in models)
        {
            // Without its own ABI, Arm has the native layouts.
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
        ILookup<string, FieldLayout> fields = ours.Fields.ToLookup(f => f.CPath);
        HeaderMember[] members = [.. type.Members.Where(m => m.Kind != MemberKind.Skip)];
        foreach (HeaderMember member in members)
        {
            long? bit =
                member.Kind == MemberKind.Tail ? ours.Tail?.Offset * LayoutCursor.BitsPerByte
                : fields[member.Path].FirstOrDefault(f => IsSame(f, member)) is { } field ? BitOf(field)
                : null;
            if (bit != member.Bit)
                throw Refused(
                    $"{member.At}: {type.Name}.{member.Name}",
                    $"{Place(member.Bit)}, and {(bit is { } wrong ? Place(wrong) : "no such member")}",
                    target
                );
        }
        int count = ours.Fields.Count + (ours.Tail is null ? 0 : 1);
        if (count != members.Length)
            throw Refused($"{type.At}: {type.Name}", $"{members.Length} members, and {count}", target);
        // In C a shared ring's header ends with its first entry; what precedes that is proved by its members.
        if (!isRingHeader && (ours.Size, ours.Alignment) != (type.Size, type.Alignment))
            throw Refused(
                $"{type.At}: {type.Name}",
                $"size {type.Size} aligned to {type.Alignment}, and {ours.Size} aligned to {ours.Alignment}",
                target
            );
    }

    /// <summary>Several members may have the same name, one for each width of a machine.</summary>
    private static bool IsSame(FieldLayout field, HeaderMember member) =>
        field.BitWidth == (member.Bits ?? 0) && (field.IsBitField ? field.ElementSize : field.Size) == member.Size;

    private static long BitOf(FieldLayout field) => ((long)field.Offset * LayoutCursor.BitsPerByte) + field.BitOffset;

    private static string Place(long bit) =>
        bit % LayoutCursor.BitsPerByte == 0
            ? FormattableString.Invariant($"offset {bit / LayoutCursor.BitsPerByte}")
            : FormattableString.Invariant(
                $"bit {bit % LayoutCursor.BitsPerByte} of byte {bit / LayoutCursor.BitsPerByte}"
            );

    private static HeaderImportException Refused(string what, string difference, Target target) =>
        new(
            $"{what} cannot be proved for {target.Triple}: {difference} by the rules of a spec; "
                + "does an alignment apply to this target only?"
        );
}
