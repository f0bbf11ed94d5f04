namespace Blkring.Architecture.Tests;

/// <summary>
/// Which room may use which, read from rooms.txt: the one place to change when a new arrow is wanted.
/// </summary>
internal static class RoomMap
{
    public const string File = "tests/Architecture/rooms.txt";
    private const string ExceptionWord = "except ";

    private static readonly string[] s_lines =
    [
        .. System
            .IO.File.ReadLines(Repository.PathOf(File))
            .Where(line => line.Length > 0 && !line.StartsWith('#'))
            .Select(line => line.Trim()),
    ];

    /// <summary>The rooms, ground up.</summary>
    public static IReadOnlyList<Room> Rooms { get; } =
    [.. s_lines.Where(line => !line.StartsWith(ExceptionWord, StringComparison.Ordinal)).Select(Parse)];

    /// <summary>Wrong arrows that are still in the code. Empty when all is well.</summary>
    public static IReadOnlyList<(string From, string To)> Exceptions { get; } =
    [
        .. s_lines
            .Where(line => line.StartsWith(ExceptionWord, StringComparison.Ordinal))
            .Select(line => line[ExceptionWord.Length..].Split(':')[0].Split(" -> "))
            .Select(pair => (Room.FullName(pair[0]), Room.FullName(pair[1]))),
    ];

    private static Room Parse(string line)
    {
        string[] parts = line.Split(':');
        Assert.True(parts.Length == 2, $"{File}: '{line}' is not ROOM: ROOM, ROOM");
        return new Room(
            Room.FullName(parts[0]),
            [
                .. parts[1]
                    .Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
                    .Select(Room.FullName),
            ]
        );
    }
}
