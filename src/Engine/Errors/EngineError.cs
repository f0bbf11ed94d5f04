namespace Blkring.Engine.Errors;

/// <summary>
/// One error of the control plane: its code, a message of one line, and the facts in that message as values. The
/// message says what is wrong. The command line adds advice in terms of its options and configuration keys.
/// </summary>
/// <param name="Message">One line. Text that a guest or toolstack wrote is cut and cleaned before it is quoted.</param>
public sealed record EngineError(ErrorCode Code, string Message)
{
    /// <summary>The device, as commands name it: 7/51712; null if the error is not one device's.</summary>
    public string? Device { get; init; }

    /// <summary>The image, block device, or device node; null if the error concerns none.</summary>
    public string? Path { get; init; }

    /// <summary>The xenstore key, relative to the device's area.</summary>
    public string? Key { get; init; }

    /// <summary>The value that was found or requested: of a key, or the name of a format, protocol or mode.</summary>
    public string? Value { get; init; }

    /// <summary>The length in bytes that was found or requested.</summary>
    public long? LengthBytes { get; init; }

    /// <summary>The smallest length in bytes that would be accepted.</summary>
    public long? MinBytes { get; init; }

    /// <summary>A positive errno; 0 when no system call failed.</summary>
    public int Errno { get; init; }

    public override string ToString() => Message;
}
