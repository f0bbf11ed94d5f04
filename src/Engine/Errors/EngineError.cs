namespace Blkring.Engine.Errors;

/// <summary>
/// One error of the control plane: its code, one line for people, and the facts in that line as values. The line names
/// what is wrong; advice in terms of options and configuration keys is added by the command line, which owns those.
/// </summary>
/// <param name="Message">One line. What a guest or toolstack wrote is cut and cleaned before it is quoted.</param>
public sealed record EngineError(ErrorCode Code, string Message)
{
    /// <summary>The image, block device, or device node; null when the error is about none.</summary>
    public string? Path { get; init; }

    /// <summary>The xenstore key, relative to the device's area.</summary>
    public string? Key { get; init; }

    /// <summary>What was found or asked for: a key's value, the name of a format, protocol or mode.</summary>
    public string? Value { get; init; }

    /// <summary>The length in bytes that was found or asked for.</summary>
    public long? LengthBytes { get; init; }

    /// <summary>The least length in bytes that would do.</summary>
    public long? MinBytes { get; init; }

    /// <summary>A positive errno; 0 when no system call failed.</summary>
    public int Errno { get; init; }

    public override string ToString() => Message;
}
