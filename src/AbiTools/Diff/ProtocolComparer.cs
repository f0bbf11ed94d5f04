using Blkring.AbiTools.Layouts;

namespace Blkring.AbiTools.Diff;

/// <summary>Compares everything of a protocol except the members of its structs.</summary>
internal sealed class ProtocolComparer(AbiModel before, AbiModel after, List<AbiDifference> found)
{
    private readonly string _protocol = after.Protocol;

    public void Compare()
    {
        AbiComparer.Pair(
            before.Abis,
            after.Abis,
            name => name,
            old => Add("abi-removed", old, "ABI removed", false),
            added => Add("abi-added", added, "ABI added", true),
            (_, _) => { }
        );
        AbiComparer.Pair(
            before.Constants,
            after.Constants,
            c => c.Name,
            // A peer of the old version may still send this value.
            old => Add("constant-removed", old.Name, $"constant removed, was {old.Value}", false, old.Value),
            added => Add("constant-added", added.Name, $"constant added, {added.Value}", true, null, added.Value),
            CompareConstant
        );
        // A typedef matters only as the type of a member, and then the member is reported; the name is not on the wire.
        AbiComparer.Pair(
            before.Typedefs,
            after.Typedefs,
            t => t.Name,
            old => Add("typedef-removed", old.Name, $"typedef removed, was {old.Underlying}", true, old.Underlying),
            added =>
                Add("typedef-added", added.Name, $"typedef added, {added.Underlying}", true, null, added.Underlying),
            CompareTypedef
        );
        CompareStructs();
        AbiComparer.Pair(
            before.Rings,
            after.Rings,
            r => r.Name,
            old => Add("ring-removed", old.Name, "ring removed", false),
            added => Add("ring-added", added.Name, "ring added", true),
            CompareRing
        );
    }

    private void CompareConstant(AbiConstant old, AbiConstant now)
    {
        if (old.Value != now.Value)
            Add(
                "constant-changed",
                old.Name,
                $"constant changed, {old.Value} -> {now.Value}",
                false,
                old.Value,
                now.Value
            );
    }

    private void CompareTypedef(AbiTypedef old, AbiTypedef now)
    {
        if (old.Underlying != now.Underlying)
            Add(
                "typedef-changed",
                old.Name,
                $"typedef changed, {old.Underlying} -> {now.Underlying}",
                false,
                old.Underlying,
                now.Underlying
            );
    }

    private void CompareStructs()
    {
        // An added or removed struct is reported once, not per ABI. A struct in an added or removed ABI is covered by
        // the report of that ABI.
        AbiComparer.Pair(
            OnePerName(before),
            OnePerName(after),
            s => s.Name,
            old => Add("struct-removed", old.Name, $"{Keyword(old)} removed", false),
            added => Add("struct-added", added.Name, $"{Keyword(added)} added", true),
            (_, _) => { }
        );
        AbiComparer.Pair(
            before.Structs,
            after.Structs,
            s => $"{s.Name} {s.Abi}",
            old => AddInAbi("struct-removed", old, after, "removed", false),
            added => AddInAbi("struct-added", added, before, "added", true),
            (old, now) => new StructComparer(_protocol, old, now, found).Compare()
        );
    }

    /// <summary>A struct that the other version has, but not in this ABI, although it has the ABI.</summary>
    private void AddInAbi(string kind, AbiStruct type, AbiModel other, string what, bool isWireCompatible)
    {
        if (other.Abis.Contains(type.Abi) && other.Structs.Any(s => s.Name == type.Name))
            found.Add(
                new(kind, _protocol, type.Name, $"{Keyword(type)} {what}", isWireCompatible)
                {
                    Struct = type.Name,
                    Abi = type.Abi,
                }
            );
    }

    private static IEnumerable<AbiStruct> OnePerName(AbiModel model) => model.Structs.DistinctBy(s => s.Name);

    private static string Keyword(AbiStruct type) => type.IsUnion ? "union" : "struct";

    private void CompareRing(AbiRing old, AbiRing now)
    {
        foreach (
            (string part, string was, string isNow) in new[]
            {
                ("header", old.Header, now.Header),
                ("request", old.Request, now.Request),
                ("response", old.Response, now.Response),
            }
        )
        {
            if (was != isNow)
                Add("ring-changed", old.Name, $"ring's {part} changed, {was} -> {isNow}", false, was, isNow);
        }
        AbiComparer.Pair(
            old.Variants,
            now.Variants,
            v => $"{v.Struct} when {v.When}",
            gone =>
                Add(
                    "variant-removed",
                    $"{old.Name} {gone.Struct}",
                    $"form of the ring's request removed, was used when {gone.When}",
                    false
                ),
            added =>
                Add(
                    "variant-added",
                    $"{old.Name} {added.Struct}",
                    $"form of the ring's request added, used when {added.When}",
                    true
                ),
            (_, _) => { }
        );
        AbiComparer.Pair(
            old.Entries,
            now.Entries,
            e => e.Abi,
            _ => { },
            _ => { },
            (was, isNow) =>
            {
                if (was.Size == isNow.Size)
                    return;
                found.Add(
                    new(
                        "ring-entry-resized",
                        _protocol,
                        old.Name,
                        $"ring entry resized, {was.Size} -> {isNow.Size} bytes",
                        false
                    )
                    {
                        Abi = was.Abi,
                        OldSize = was.Size,
                        NewSize = isNow.Size,
                    }
                );
            }
        );
    }

    private void Add(
        string kind,
        string subject,
        string text,
        bool isWireCompatible,
        string? old = null,
        string? now = null
    ) => found.Add(new AbiDifference(kind, _protocol, subject, text, isWireCompatible) { Old = old, New = now });
}
