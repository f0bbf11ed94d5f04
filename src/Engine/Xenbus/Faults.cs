namespace Blkring.Engine.Xenbus;

/// <summary>
/// A device that cannot be served; the message is one line for the log and for xenstore's error node.
/// </summary>
internal sealed class DeviceFaultException(string message) : Exception(message);

/// <summary>A command that cannot be carried out; the message is one line.</summary>
public sealed class XenbusCommandException(string message) : Exception(message);

internal static class Shown
{
    /// <summary>A value from xenstore for a log line: cut, and without what could break the line.</summary>
    public static string Value(string value, int maxLength = 64)
    {
        string clean = new([.. value.Take(maxLength).Select(c => char.IsControl(c) ? '?' : c)]);
        return clean.Length < value.Length ? $"'{clean}...'" : $"'{clean}'";
    }

    /// <summary>
    /// A line whose middle is left out when it is too long: a long path stands at the beginning, and what is wrong with
    /// it at the end.
    /// </summary>
    public static string Ends(string line, int maxLength) =>
        line.Length <= maxLength ? line : $"{line[..(maxLength / 2)]} ... {line[^(maxLength / 2)..]}";
}
