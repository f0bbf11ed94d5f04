namespace Blkring.Engine.Xenbus;

/// <summary>Makes text that a guest or a toolstack wrote safe for one line of a log.</summary>
internal static class LogText
{
    /// <summary>
    /// A value from xenstore in quotes: cut, and without control characters, which could break the line.
    /// </summary>
    public static string Quote(string value, int maxLength = 64)
    {
        string clean = new([.. value.Take(maxLength).Select(c => char.IsControl(c) ? '?' : c)]);
        return clean.Length < value.Length ? $"'{clean}...'" : $"'{clean}'";
    }

    /// <summary>
    /// Leaves out the middle of a line that is too long: a long path is at the beginning, and what is wrong with it at
    /// the end.
    /// </summary>
    public static string Shorten(string line, int maxLength) =>
        line.Length <= maxLength ? line : $"{line[..(maxLength / 2)]} ... {line[^(maxLength / 2)..]}";
}
