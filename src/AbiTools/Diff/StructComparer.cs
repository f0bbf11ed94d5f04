using Blkring.AbiTools.Layouts;

namespace Blkring.AbiTools.Diff;

/// <summary>Compares one struct or union in one ABI.</summary>
internal sealed class StructComparer(string protocol, AbiStruct before, AbiStruct after, List<AbiDifference> found)
{
    public void Compare()
    {
        if (before.IsUnion != after.IsUnion)
            Add("struct-changed", null, before.IsUnion ? "union became a struct" : "struct became a union", false);
        if (before.Size != after.Size)
            Add(
                "struct-resized",
                null,
                $"size {before.Size} -> {after.Size}",
                OnlyLengthOfLastArrayIsOpen,
                d => d with { OldSize = before.Size, NewSize = after.Size }
            );
        // Every byte keeps its place. If a struct that contains this one moves because of it, that is reported there.
        else if (before.Alignment != after.Alignment)
            Add("struct-realigned", null, $"alignment {before.Alignment} -> {after.Alignment}", true);

        List<AbiMember> removed = [],
            added = [];
        AbiComparer.Pair(before.Members, after.Members, m => m.Name, removed.Add, added.Add, CompareMember);
        foreach (AbiMember old in removed)
        {
            if (
                added.Find(m => m.FirstBit == old.FirstBit && m.EndBit == old.EndBit && m.Underlying == old.Underlying)
                is not { } renamed
            )
            {
                Add(
                    "member-removed",
                    old.Name,
                    $"removed, was {old.Type}, {Place(old)}",
                    false,
                    d =>
                        d with
                        {
                            OldOffset = old.Offset,
                            OldSize = old.Size,
                            OldBitOffset = old.BitOffset,
                            OldBitWidth = old.BitWidth,
                            Old = old.Type,
                        }
                );
                continue;
            }
            added.Remove(renamed);
            AddRenamed(old, renamed);
        }
        foreach (AbiMember member in added)
            AddNew(member);
    }

    /// <summary>
    /// The struct ends with an array that has one element, as in older headers, or no count. No byte changes its
    /// meaning, and a struct that contains this one is reported separately when it moves.
    /// </summary>
    private bool OnlyLengthOfLastArrayIsOpen =>
        !before.IsUnion
        && before.Members.Count == after.Members.Count
        && before
            .Members.Zip(after.Members)
            .All(pair => pair.First.Name == pair.Second.Name && pair.First.FirstBit == pair.Second.FirstBit)
        && before
            .Members.Zip(after.Members)
            .SkipLast(1)
            .All(pair => pair.First.Underlying == pair.Second.Underlying && pair.First.EndBit == pair.Second.EndBit)
        && IsLengthOpened(before.Members[^1], after.Members[^1]);

    private static bool IsLengthOpened(AbiMember old, AbiMember now) =>
        old.IsFlexible != now.IsFlexible && ElementOf(old) is { } element && element == ElementOf(now);

    /// <summary>The type of an array's elements; null if it is not an array.</summary>
    private static string? ElementOf(AbiMember member) =>
        member.Underlying.IndexOf('[', StringComparison.Ordinal) is var at and > 0 ? member.Underlying[..at] : null;

    private bool NothingMoved =>
        before.Size == after.Size
        && before.Members.All(old => after.Members.All(m => m.Name != old.Name || m.FirstBit == old.FirstBit));

    private void CompareMember(AbiMember old, AbiMember now)
    {
        if (old.FirstBit != now.FirstBit)
            Add("member-moved", old.Name, $"{Moved(old, now)}{Resized(old, now)}", false, d => WithPlaces(d, old, now));
        else if (IsLengthOpened(old, now))
            Add(
                "member-resized",
                old.Name,
                $"at {Start(old)}, {old.Type} -> {now.Type}: {(now.IsFlexible ? "now" : "no longer")} of any length",
                OnlyLengthOfLastArrayIsOpen,
                d => WithPlaces(d, old, now) with { Old = old.Type, New = now.Type }
            );
        else if (Extent(old) != Extent(now))
            Add("member-resized", old.Name, $"at {Start(old)}{Resized(old, now)}", false, d => WithPlaces(d, old, now));
        if (old.Type == now.Type || Extent(old) != Extent(now))
            return;
        // Another name of the same type means the same bytes. Another type of the same size may mean another value.
        bool isSame = old.Underlying == now.Underlying;
        Add(
            "member-retyped",
            old.Name,
            $"type {old.Type} -> {now.Type}, {Place(now)}",
            isSame,
            d => WithPlaces(d, old, now) with { Old = old.Type, New = now.Type }
        );
    }

    /// <summary>The bytes are the same. That they mean the same is certain only for padding.</summary>
    private void AddRenamed(AbiMember old, AbiMember now)
    {
        bool isPadding = old.IsPadding && now.IsPadding;
        string advice = isPadding ? "" : "; check that it means the same";
        Add(
            "member-renamed",
            old.Name,
            $"renamed to {now.Name}, {Place(now)}{advice}",
            isPadding,
            d => WithPlaces(d, old, now) with { Old = old.Name, New = now.Name }
        );
    }

    private void AddNew(AbiMember member)
    {
        // In a union it is another view of the same bytes; in a struct it may fill a gap. Otherwise it displaces
        // another member.
        bool isFree =
            NothingMoved
            && member.End <= before.Size
            && (before.IsUnion || !before.Members.Any(m => m.FirstBit < member.EndBit && member.FirstBit < m.EndBit));
        string where = isFree
            ? before.IsUnion
                ? ", within the union"
                : ", in what was a gap"
            : "";
        Add(
            "member-added",
            member.Name,
            $"added, {member.Type}, {Place(member)}{where}",
            isFree,
            d =>
                d with
                {
                    NewOffset = member.Offset,
                    NewSize = member.Size,
                    NewBitOffset = member.BitOffset,
                    NewBitWidth = member.BitWidth,
                    New = member.Type,
                }
        );
    }

    private static string Moved(AbiMember old, AbiMember now) =>
        old.BitWidth is null && now.BitWidth is null
            ? $"offset {old.Offset} -> {now.Offset}"
            : $"{Start(old)} -> {Start(now)}";

    private static string Resized(AbiMember old, AbiMember now) =>
        Extent(old) == Extent(now) ? $", {Extent(now)}"
        : old.BitWidth is null && now.BitWidth is null ? $", size {old.Size} -> {now.Size}"
        : $", {Extent(old)} -> {Extent(now)}";

    private static string Place(AbiMember member) => $"{Extent(member)} at {Start(member)}";

    private static string Start(AbiMember member) =>
        member.BitOffset is { } bit ? $"bit {bit} of byte {member.Offset}" : $"{member.Offset}";

    private static string Extent(AbiMember member) =>
        member.BitWidth is { } width
            ? width == 1
                ? "1 bit"
                : $"{width} bits"
            : Bytes(member.Size);

    private static string Bytes(int count) => count == 1 ? "1 byte" : $"{count} bytes";

    private static AbiDifference WithPlaces(AbiDifference difference, AbiMember old, AbiMember now) =>
        difference with
        {
            OldOffset = old.Offset,
            NewOffset = now.Offset,
            OldSize = old.Size,
            NewSize = now.Size,
            OldBitOffset = old.BitOffset,
            NewBitOffset = now.BitOffset,
            OldBitWidth = old.BitWidth,
            NewBitWidth = now.BitWidth,
        };

    private void Add(
        string kind,
        string? member,
        string text,
        bool isWireCompatible,
        Func<AbiDifference, AbiDifference>? complete = null
    )
    {
        string subject = member is null ? after.CName : $"{after.Name}.{member}";
        AbiDifference difference = new(kind, protocol, subject, text, isWireCompatible)
        {
            Struct = after.Name,
            Member = member,
            Abi = after.Abi,
        };
        found.Add(complete?.Invoke(difference) ?? difference);
    }
}
