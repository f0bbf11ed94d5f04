namespace Blkring.Settings;

/// <summary>Where a running daemon has its control socket and its lock.</summary>
internal static class RuntimeFolder
{
    public const string Standard = "/run/blkring";

    /// <summary>systemd's choice (RuntimeDirectory=), or <see cref="Standard"/>.</summary>
    public static string Path =>
        Environment.GetEnvironmentVariable("RUNTIME_DIRECTORY") is { Length: > 0 } folder
            ? folder.Split(':')[0]
            : Standard;

    /// <summary>
    /// What rings have under way when a daemon is killed. One folder a backend directory, whichever domains a daemon
    /// serves: another daemon may be the next for them.
    /// </summary>
    public static string JournalsOf(string backend) => System.IO.Path.Combine(Path, "journal", backend);

    /// <summary>vbd3, or vbd3.7 for a daemon that serves domain 7 alone.</summary>
    public static string NameOf(string backend, int? frontend) =>
        frontend is int domain ? $"{backend}.{domain}" : backend;
}

internal static class ControlSocketPath
{
    /// <summary>sockaddr_un.sun_path without its zero.</summary>
    public const int MaxBytes = 107;

    public static string Standard(string backend, int? frontend) =>
        System.IO.Path.Combine(RuntimeFolder.Path, RuntimeFolder.NameOf(backend, frontend) + ".sock");
}
