namespace Blkring.Engine.Xenbus;

/// <summary>
/// A file beside the journals that says that the daemon ended by a fault of its own. The service manager has it
/// written, because the process that dies cannot.
/// </summary>
public static class CrashNote
{
    /// <param name="folder"><see cref="BackendOptions.JournalFolder"/></param>
    public static string PathIn(string folder) => Path.Combine(folder, "crashed");

    /// <param name="signal">How systemd names it in EXIT_STATUS: SEGV.</param>
    /// <returns>False for a signal that others send: a kill, a stop, the watchdog.</returns>
    public static bool IsOwnFault(string? signal) => signal is "SEGV" or "BUS" or "ILL" or "FPE" or "ABRT";
}
