using Blkring.Generators.Layout;

namespace Blkring.AbiTools.Import;

/// <summary>
/// A struct or union as its members are read, one by one. Says where C would put each without attributes of its own,
/// and from where it lies, which alignment it has: attributes stand on members, typedefs and structs, in macros, and
/// libclang does not tell their values.
/// </summary>
internal sealed class RecordLayout(string name, string path, bool isUnion, int? pack)
{
    // As far as a spec's align goes.
    private const int MostAligned = 4096;

    private readonly List<HeaderMember> _members = [];
    private readonly Room _room = new(isUnion, alignment: 1);

    public string Name => name;

    /// <summary>Where C finds its members.</summary>
    public string Path => path;

    public bool IsUnion => isUnion;

    public int? Pack => pack;

    public IReadOnlyList<HeaderMember> Members => _members;

    /// <summary>Of what is read so far, bytes.</summary>
    public int Alignment => _room.Alignment;

    public int UnnamedMembers { get; set; }

    public int Skips { get; set; }

    /// <param name="typeAlignment">Of the member's type, bytes.</param>
    public void Add(HeaderMember member, long typeAlignment)
    {
        int natural = member.Bits is not null
            ? (int)typeAlignment
            : (int)Math.Min(typeAlignment, pack ?? long.MaxValue);
        int? align =
            Start(member, natural, null) == member.Bit
                ? null
                : Candidates(natural).Where(a => Start(member, natural, a) == member.Bit).Cast<int?>().FirstOrDefault();
        _members.Add(member with { Align = align });
        _room.Take(member.Bit, member.Bits ?? (Room.BitsPerByte * member.Size));
        if (member.Kind != MemberKind.Skip)
            _room.Align(align ?? (int)Math.Min(typeAlignment, pack ?? long.MaxValue));
    }

    private long Start(HeaderMember member, int natural, int? align) =>
        member.Bits is { } width
            ? _room.StartOfBits(width, (int)member.Size, natural, align, pack is not null)
            : Room.RoundUp(_room.EndByte, align ?? natural) * Room.BitsPerByte;

    /// <summary>The nearest first: more than its own, then less.</summary>
    private static IEnumerable<int> Candidates(int natural)
    {
        for (int align = 2 * natural; align <= MostAligned; align *= 2)
            yield return align;
        for (int align = natural / 2; align > 0; align /= 2)
            yield return align;
    }
}
