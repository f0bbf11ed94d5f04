using Blkring.Generators.Layout;

namespace Blkring.AbiTools.Import;

/// <summary>
/// A struct or union whose members are read one by one. Calculates where C would put each member without attributes,
/// and derives its alignment from where it is: attributes occur on members, typedefs and structs and in macros, and
/// libclang does not report their values.
/// </summary>
internal sealed class RecordLayout(string name, string path, bool isUnion, int? pack)
{
    // The largest align of a spec.
    private const int MostAligned = 4096;

    private readonly List<HeaderMember> _members = [];
    private readonly LayoutCursor _cursor = new(isUnion, alignment: 1);

    public string Name => name;

    /// <summary>The path by which C reaches its members.</summary>
    public string Path => path;

    public bool IsUnion => isUnion;

    public int? Pack => pack;

    public IReadOnlyList<HeaderMember> Members => _members;

    /// <summary>Of what is read so far, bytes.</summary>
    public int Alignment => _cursor.Alignment;

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
        _cursor.Take(member.Bit, member.Bits ?? (LayoutCursor.BitsPerByte * member.Size));
        if (member.Kind != MemberKind.Skip)
            _cursor.Align(align ?? (int)Math.Min(typeAlignment, pack ?? long.MaxValue));
    }

    private long Start(HeaderMember member, int natural, int? align) =>
        member.Bits is { } width
            ? _cursor.StartOfBits(width, (int)member.Size, natural, align, pack is not null)
            : LayoutCursor.RoundUp(_cursor.EndByte, align ?? natural) * LayoutCursor.BitsPerByte;

    /// <summary>The nearest first: more than its own, then less.</summary>
    private static IEnumerable<int> Candidates(int natural)
    {
        for (int align = 2 * natural; align <= MostAligned; align *= 2)
            yield return align;
        for (int align = natural / 2; align > 0; align /= 2)
            yield return align;
    }
}
