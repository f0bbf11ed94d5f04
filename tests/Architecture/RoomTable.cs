using System.Text.RegularExpressions;

namespace Blkring.Architecture.Tests;

/// <summary>Fills the last column of the table of rooms in ARCHITECTURE.md: what each room uses.</summary>
internal static partial class RoomTable
{
    public static string Fill(string document, IReadOnlyList<Room> rooms)
    {
        HashSet<string> listed = [];
        string filled = Row()
            .Replace(
                document,
                row =>
                {
                    Room? room = rooms.FirstOrDefault(room => room.Namespace == row.Groups["name"].Value);
                    Assert.True(
                        room is not null,
                        $"ARCHITECTURE.md lists {row.Groups["name"].Value}, which is no room"
                    );
                    listed.Add(room.Namespace);
                    string uses = string.Join(
                        ", ",
                        room.Uses.Select(use => rooms.Single(r => r.Namespace == use).Name)
                    );
                    return $"{row.Groups["start"].Value} {(uses.Length == 0 ? "nothing" : uses)} |";
                }
            );
        string[] missing = [.. rooms.Select(room => room.Namespace).Except(listed)];
        Assert.True(missing.Length == 0, $"ARCHITECTURE.md has no row for {string.Join(", ", missing)}");
        return filled;
    }

    // | `Blkring.Engine.Disks` | what it is | what it uses |
    [GeneratedRegex(@"^(?<start>\| `(?<name>Blkring[\w.]*)` \|[^|\n]*\|)[^|\n]*\|$", RegexOptions.Multiline)]
    private static partial Regex Row();
}
