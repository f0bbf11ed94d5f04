using System.Globalization;
using System.Text;

namespace Blkring.Architecture.Tests;

/// <summary>
/// Draws the rooms, each above all that it uses, as SVG. An arrow that follows from others is left out: where A uses B
/// and B uses C, there is no line from A to C.
/// </summary>
internal static class RoomDiagram
{
    private const int Width = 1000,
        BoxHeight = 34,
        FloorHeight = 74,
        Margin = 16;

    public static string Draw(IReadOnlyList<Room> rooms)
    {
        Dictionary<string, int> floors = FloorsOf(rooms);
        int top = floors.Values.Max();
        int height = ((top + 1) * FloorHeight) + Margin;
        Dictionary<string, (double X, double Y, double Width)> boxes = [];
        foreach (IGrouping<int, Room> floor in rooms.GroupBy(room => floors[room.Namespace]))
        {
            Room[] row = [.. floor];
            double share = (double)(Width - (2 * Margin)) / row.Length;
            for (int i = 0; i < row.Length; i++)
            {
                double width = Math.Min(share - 8, (row[i].Name.Length * 8.2) + 24);
                boxes[row[i].Namespace] = (
                    Margin + (share * (i + 0.5)),
                    Margin + ((top - floor.Key) * FloorHeight) + (BoxHeight / 2.0),
                    width
                );
            }
        }

        StringBuilder svg = new();
        svg.Append(
            CultureInfo.InvariantCulture,
            $"""
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {Width} {height}" role="img">
            <title>The rooms of Blkring, each above the rooms that it uses</title>
            <style>
            text {"{"} font: 13px system-ui, sans-serif; text-anchor: middle; fill: #1f2328; {"}"}
            rect {"{"} fill: #eef3fa; stroke: #4d7ab5; {"}"}
            line {"{"} stroke: #8b949e; {"}"}
            @media (prefers-color-scheme: dark) {"{"}
            text {"{"} fill: #e6edf3; {"}"}
            rect {"{"} fill: #1c2b40; stroke: #6b9bd8; {"}"}
            {"}"}
            </style>
            <defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
            <path d="M0 0 L8 4 L0 8 z" fill="#8b949e"/></marker></defs>

            """
        );
        foreach (Room room in rooms)
        {
            foreach (string use in Direct(room, rooms))
            {
                (double x1, double y1, _) = boxes[room.Namespace];
                (double x2, double y2, _) = boxes[use];
                svg.Append(
                    CultureInfo.InvariantCulture,
                    $"<line x1=\"{x1:0}\" y1=\"{y1 + (BoxHeight / 2):0}\" x2=\"{x2:0}\" y2=\"{y2 - (BoxHeight / 2):0}\""
                );
                svg.Append(" marker-end=\"url(#tip)\"/>\n");
            }
        }
        foreach (Room room in rooms)
        {
            (double x, double y, double width) = boxes[room.Namespace];
            svg.Append(
                CultureInfo.InvariantCulture,
                $"<rect x=\"{x - (width / 2):0}\" y=\"{y - (BoxHeight / 2):0}\" width=\"{width:0}\""
            );
            svg.Append(
                CultureInfo.InvariantCulture,
                $" height=\"{BoxHeight}\" rx=\"5\"/><text x=\"{x:0}\" y=\"{y + 4:0}\">{room.Name}</text>\n"
            );
        }
        return svg.Append("</svg>\n").ToString();
    }

    /// <summary>The floor of a room is one above the highest room that it uses.</summary>
    public static Dictionary<string, int> FloorsOf(IReadOnlyList<Room> rooms)
    {
        Dictionary<string, int> floors = [];
        foreach (Room room in rooms)
            floors[room.Namespace] = room.Uses.Select(use => floors[use] + 1).DefaultIfEmpty(0).Max();
        return floors;
    }

    private static IEnumerable<string> Direct(Room room, IReadOnlyList<Room> rooms) =>
        room.Uses.Where(use => !room.Uses.Any(other => other != use && Reaches(other, use, rooms)));

    private static bool Reaches(string from, string to, IReadOnlyList<Room> rooms) =>
        rooms.Single(room => room.Namespace == from).Uses.Any(use => use == to || Reaches(use, to, rooms));
}
