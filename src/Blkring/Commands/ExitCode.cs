namespace Blkring.Commands;

internal static class ExitCode
{
    public const int Ok = 0;

    /// <summary>The work was done, or begun, and something was wrong.</summary>
    public const int Failed = 1;

    /// <summary>What was asked for cannot be: nothing was done.</summary>
    public const int Usage = 2;

    /// <summary>Xen, or a library of it, is not there.</summary>
    public const int Unavailable = 3;

    /// <summary>Plus the signal's number, as shells count.</summary>
    public const int Signal = 128;
}

/// <summary>Something was asked for that cannot be; the message is one line that names what to do.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>Xen, or a library or service of it, is not there; the message is one line of advice.</summary>
internal sealed class XenMissingException(string message) : Exception(message);
