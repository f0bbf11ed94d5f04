namespace Blkring.Generators.Model;

internal static class TypeNames
{
    /// <summary>The bytes of a decoded message's member, within the message's type.</summary>
    public static string Bytes(string field) => field + "Bytes";

    /// <summary>The offset at which the flexible array <paramref name="tail"/> (C name) begins.</summary>
    public static string TailOffset(string tail) => CSharpName.Pascal(tail) + "Offset";

    /// <summary>
    /// How C names a type: by its tag, its typedef, or, when it has none, as the type of a member. Empty when C cannot.
    /// </summary>
    public static string InC(CompositeSpec type, ProtocolSpec spec)
    {
        if (type.Path is null)
            return (type.IsUnion ? "union " : "struct ") + type.Name;
        int dot = type.Path.IndexOf('.');
        if (dot < 0)
            return type.Path;
        CompositeSpec owner = spec.Composites.First(c => c.Name == type.Path.Substring(0, dot));
        string members = MembersInC(owner, type.Path.Substring(dot + 1).Split('.'), spec);
        return $"__typeof__((({InC(owner, spec)} *)0)->{members})";
    }

    /// <summary>Members down from a type; of an array, its first element.</summary>
    private static string MembersInC(CompositeSpec owner, string[] path, ProtocolSpec spec)
    {
        CompositeSpec? at = owner;
        return string.Join(
            ".",
            path.Select(name =>
            {
                MemberSpec? member = at?.Members.FirstOrDefault(m => m.Path == name);
                at = spec.Composites.FirstOrDefault(c => c.Name == member?.Type);
                return member?.Count is null ? name : name + "[0]";
            })
        );
    }

    /// <summary>
    /// The inline array that holds a member of <paramref name="type"/> (C# name). A word that the type ends with and
    /// the member begins with is written once: RequestIndirect and IndirectGrefs give RequestIndirectGrefsArray.
    /// </summary>
    public static string Array(string type, MemberSpec member)
    {
        string name = CSharpName.Of(member);
        int word = 1;
        while (word < name.Length && !char.IsUpper(name[word]))
            word++;
        bool isRepeated = word < name.Length && type.EndsWith(name.Substring(0, word), StringComparison.Ordinal);
        return type + (isRepeated ? name.Substring(word) : name) + "Array";
    }
}

/// <summary>
/// The types generated for a ring. The ring named as its protocol has no prefix: Blkif.BackRing; netif's netif_tx has
/// Tx.
/// </summary>
internal static class RingNames
{
    public static string Prefix(RingSpec ring, string protocol) =>
        ring.Name == protocol ? "" : CSharpName.WithoutPrefix(ring.Name, protocol);

    public static string Interface(string prefix) => $"I{prefix}Ring";

    public static string Request(string prefix) => $"{prefix}DecodedRequest";

    public static string Response(string prefix) => $"{prefix}DecodedResponse";

    public static string Back(string prefix) => $"{prefix}BackRing";

    public static string Front(string prefix) => $"{prefix}FrontRing";

    public static IEnumerable<string> Types(string prefix) =>
        [Interface(prefix), Request(prefix), Response(prefix), Back(prefix), Front(prefix)];
}
