using System.Globalization;
using System.Text;

namespace Blkring.AbiTools.Layouts;

/// <summary>
/// A picture (SVG) of layouts: one row of bytes per struct and ABI, all to the same scale, so that a member whose
/// offset differs between ABIs stands out. ABIs with the same layout share a row. Long members are cut, and the cut is
/// marked.
/// </summary>
public sealed class ByteMap
{
    private const int BytePixels = 28,
        RowPixels = 100,
        Margin = 24,
        LabelPixels = 150,
        SizePixels = 150;
    private const int TitlePixels = 34,
        RulerPixels = 18,
        RowGapPixels = 14,
        StructGapPixels = 26;

    /// <summary>The number of bytes that are drawn of a longer member.</summary>
    private const int LongestBytes = 16;
    private const double LetterPixels = 7.3;
    private const int BitsPerByte = 8;

    /// <summary>A narrower cell shows no name; its tooltip does.</summary>
    private const int NarrowestName = 10;

    // Light enough for dark text. Neighbours also differ in lightness, so that colour-blind readers can tell them
    // apart.
    private static readonly string[] s_colours =
    [
        "#9ecae9",
        "#ffd8a8",
        "#b7e1b0",
        "#f4b6c2",
        "#d5c6e8",
        "#f6ec9b",
        "#a8dfd8",
        "#e3c8ad",
    ];

    private readonly StringBuilder _body = new();
    private int _bottom = Margin,
        _right;

    public static string Write(IEnumerable<AbiModel> models, AbiSelection selection)
    {
        ByteMap map = new();
        foreach (IGrouping<string, AbiStruct> type in models.SelectMany(m => selection.Of(m).GroupBy(s => s.Name)))
            map.AddStruct([.. type]);
        return map.ToSvg();
    }

    private string ToSvg()
    {
        int width = _right + SizePixels + Margin,
            height = _bottom;
        return FormattableString.Invariant(
                $"""
                <svg xmlns="http://www.w3.org/2000/svg"
                  width="{width}" height="{height}" viewBox="0 0 {width} {height}"
                  font-family="DejaVu Sans, Verdana, sans-serif" font-size="12" fill="#1b1f24">
                <defs>
                  <pattern id="gap" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
                    <rect width="7" height="7" fill="#f2f2f2"/>
                    <line x1="0" y1="0" x2="0" y2="7" stroke="#c4c4c4" stroke-width="2"/>
                  </pattern>
                </defs>
                <rect width="{width}" height="{height}" fill="#ffffff"/>

                """
            )
            + _body
            + "</svg>\n";
    }

    private void AddStruct(AbiStruct[] abis)
    {
        string title = Escape(abis[0].CName);
        Line($"<text x=\"{Margin}\" y=\"{_bottom + 16}\" font-size=\"16\" font-weight=\"bold\">{title}</text>");
        _bottom += TitlePixels;
        // A member has the same colour in every ABI, even if an ABI lacks other members.
        string[] names = [.. abis.SelectMany(a => a.Members).Select(m => m.Name).Distinct()];
        Dictionary<string, string> colours = names
            .Select((name, i) => (name, Colour: s_colours[i % s_colours.Length]))
            .ToDictionary(c => c.name, c => c.Colour);
        foreach (IGrouping<string, AbiStruct> same in abis.GroupBy(Shape))
            AddRow(same.First(), string.Join(", ", same.Select(s => s.Abi)), colours);
        _bottom += StructGapPixels - RowGapPixels;
    }

    /// <summary>What two ABIs must have in common to share a row.</summary>
    private static string Shape(AbiStruct type) =>
        FormattableString.Invariant($"{type.Size} {type.Alignment} ")
        + string.Join(' ', type.Members.Select(m => FormattableString.Invariant($"{m.Name}@{m.FirstBit}-{m.EndBit}")));

    private void AddRow(AbiStruct type, string label, Dictionary<string, string> colours)
    {
        int top = _bottom + RulerPixels,
            lanes = type.IsUnion ? type.Members.Count : 1,
            right = 0;
        AddLabel(label, top + (RowPixels / 2));
        if (type.IsUnion)
        {
            // The members of a union overlap: each has a lane.
            int lane = RowPixels / 2;
            for (int i = 0; i < lanes; i++)
                right = Math.Max(
                    right,
                    AddLane(type, [type.Members[i]], top + (i * lane), lane, colours, withOffsets: i == 0)
                );
            _bottom = top + (lanes * lane) + RowGapPixels;
        }
        else
        {
            right = AddLane(type, type.Members, top, RowPixels, colours, withOffsets: true);
            _bottom = top + RowPixels + RowGapPixels;
        }
        int x = right + 10;
        Line($"<text x=\"{x}\" y=\"{top + 20}\">{type.Size} bytes</text>");
        Line($"<text x=\"{x}\" y=\"{top + 37}\" fill=\"#656d76\">aligned to {type.Alignment}</text>");
        _right = Math.Max(_right, right);
    }

    private void AddLabel(string label, int y)
    {
        string[] lines = label.Split(", ");
        for (int i = 0; i < lines.Length; i++)
        {
            int at = y + 4 + (int)((i - ((lines.Length - 1) / 2.0)) * 17);
            Line($"<text x=\"{Margin}\" y=\"{at}\" fill=\"#656d76\">{Escape(lines[i])}</text>");
        }
    }

    /// <summary>Draws members and the gaps around them from left to right; returns where the lane ends.</summary>
    private int AddLane(
        AbiStruct type,
        IReadOnlyList<AbiMember> members,
        int top,
        int height,
        Dictionary<string, string> colours,
        bool withOffsets
    )
    {
        int x = Margin + LabelPixels,
            end = 0;
        // The lowest bit is at the left, so that members follow each other as in memory.
        foreach (AbiMember member in members)
        {
            if (member.FirstBit > end)
                x = AddCell(x, top, height, end, member.FirstBit - end, null, "url(#gap)", withOffsets);
            // A flexible array has no bytes to draw.
            if (member.Size > 0)
                x = AddCell(
                    x,
                    top,
                    height,
                    member.FirstBit,
                    member.EndBit - member.FirstBit,
                    member,
                    colours[member.Name],
                    withOffsets
                );
            end = member.EndBit;
        }
        // A lane of a union ends with its member; other members have their own lanes.
        if (type.IsUnion)
            return x;
        int all = type.Size * BitsPerByte;
        if (all > end)
            x = AddCell(x, top, height, end, all - end, null, "url(#gap)", withOffsets);
        if (withOffsets)
            Offset(x, top, type.Size);
        return x;
    }

    /// <param name="member">Null for a gap.</param>
    private int AddCell(
        int x,
        int top,
        int height,
        int firstBit,
        int bits,
        AbiMember? member,
        string fill,
        bool withOffsets
    )
    {
        int shown = Math.Min(bits, LongestBytes * BitsPerByte);
        int inByte = firstBit % BitsPerByte;
        int width = Along(shown);
        string tip = member is null
            ? $"{Amount(bits)} unused at {Place(firstBit)}"
            : $"{member.Type} {member.Name}: {Amount(bits)} at {Place(firstBit)}. {member.Doc}";
        Line($"<g><title>{Escape(tip)}</title>");
        Line($"<rect x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"{fill}\" stroke=\"#3d444d\"/>");
        for (int bit = BitsPerByte - inByte; bit < shown; bit += BitsPerByte)
        {
            int at = x + Along(bit);
            string ends = FormattableString.Invariant(
                $"x1=\"{at}\" y1=\"{top + height - 6}\" x2=\"{at}\" y2=\"{top + height}\""
            );
            Line($"<line {ends} stroke=\"#3d444d\" stroke-opacity=\"0.5\"/>");
        }
        if (bits > shown)
            Cut(x + (width * 3 / 4), top, height);
        if (member is not null)
            Name(x, top, width, height, member);
        _body.Append("</g>\n");
        if (withOffsets && inByte == 0)
            Offset(x, top, firstBit / BitsPerByte);
        return x + width;

        // Rounded from the start of the byte, so that the widths of bits add up to that of a byte.
        int Along(int count) => ((inByte + count) * BytePixels / BitsPerByte) - (inByte * BytePixels / BitsPerByte);
    }

    private static string Amount(int bits) =>
        bits % BitsPerByte == 0 ? FormattableString.Invariant($"{bits / BitsPerByte}")
        : bits == 1 ? "1 bit"
        : FormattableString.Invariant($"{bits} bits");

    private static string Place(int bit) =>
        bit % BitsPerByte == 0
            ? FormattableString.Invariant($"{bit / BitsPerByte}")
            : FormattableString.Invariant($"{bit / BitsPerByte}.{bit % BitsPerByte}");

    /// <summary>Draws a zigzag through a cell where bytes are left out.</summary>
    private void Cut(int x, int top, int height)
    {
        int half = height / 2;
        int quarter = half / 2;
        string upper = FormattableString.Invariant($"{x},{top - 1} {x - 6},{top + quarter} {x + 6},{top + half}");
        string lower = FormattableString.Invariant($"{x - 6},{top + half + quarter} {x},{top + height + 1}");
        foreach ((string colour, int width) in new[] { ("#3d444d", 8), ("#ffffff", 6) })
            Line($"<polyline points=\"{upper} {lower}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>");
    }

    /// <summary>Writes the name along the cell if it fits, otherwise upright; cut if neither fits.</summary>
    private void Name(int x, int top, int width, int height, AbiMember member)
    {
        int middle = x + (width / 2);
        if (member.Name.Length * LetterPixels < width)
        {
            bool hasRoomForType = height > 50 && member.Type.Length * LetterPixels < width - 12;
            int y = top + (height / 2) + (hasRoomForType ? -2 : 4);
            Line($"<text x=\"{middle}\" y=\"{y}\" text-anchor=\"middle\">{Escape(member.Name)}</text>");
            if (hasRoomForType)
            {
                string place = FormattableString.Invariant($"x=\"{middle}\" y=\"{y + 17}\" text-anchor=\"middle\"");
                Line($"<text {place} font-size=\"11\" fill=\"#57606a\">{Escape(member.Type)}</text>");
            }
            return;
        }
        if (width < NarrowestName)
            return;
        int letters = (int)((height - 8) / LetterPixels);
        string name = member.Name.Length <= letters ? member.Name : member.Name[..(letters - 1)] + "…";
        string upright = FormattableString.Invariant($"translate({middle + 4} {top + (height / 2) - 2}) rotate(-90)");
        Line($"<text transform=\"{upright}\" text-anchor=\"middle\">{Escape(name)}</text>");
    }

    private void Offset(int x, int top, int offset) =>
        Line(
            $"<text x=\"{x}\" y=\"{top - 5}\" font-size=\"10\" fill=\"#656d76\" text-anchor=\"middle\">{offset}</text>"
        );

    private void Line(FormattableString line) => _body.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');

    private static string Escape(string text) =>
        text.Replace("&", "&amp;", StringComparison.Ordinal)
            .Replace("<", "&lt;", StringComparison.Ordinal)
            .Replace(">", "&gt;", StringComparison.Ordinal);
}
