namespace Blkring.Commands;

internal static class ExitCode
{
    public const int Ok = 0;

    /// <summary>The command failed after it began.</summary>
    public const int Failed = 1;

    /// <summary>The command cannot be carried out; nothing was changed.</summary>
    public const int Usage = 2;

    /// <summary>Xen or one of its libraries is missing.</summary>
    public const int Unavailable = 3;

    /// <summary>Added to the number of the signal that ended the process, as shells do.</summary>
    public const int Signal = 128;
}

/// <summary>A command that cannot be carried out; the message is one line that says what to do.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>Xen, or one of its libraries or services, is missing; the message is one line with advice.</summary>
internal sealed class XenMissingException(string message) : Exception(message);
