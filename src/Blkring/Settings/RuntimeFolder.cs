namespace Blkring.Settings;

/// <summary>The folder of a running daemon's control socket, lock and journals.</summary>
internal static class RuntimeFolder
{
    public const string Standard = "/run/blkring";

    /// <summary>The folder of the folders of journals.</summary>
    public const string Journals = "journal";

    /// <summary>The folder that systemd assigns (RuntimeDirectory=), or <see cref="Standard"/>.</summary>
    public static string Path =>
        Environment.GetEnvironmentVariable("RUNTIME_DIRECTORY") is { Length: > 0 } folder
            ? folder.Split(':')[0]
            : Standard;

    /// <summary>
    /// The folder of the rings' journals: one per backend directory, whichever domains a daemon serves, because another
    /// daemon may take over any of them.
    /// </summary>
    public static string JournalsOf(string backend) => System.IO.Path.Combine(Path, Journals, backend);

    /// <summary>The limits that commands asked to keep.</summary>
    public static string LimitsOf(string backend) => System.IO.Path.Combine(Path, $"limits-{backend}");

    /// <summary>vbd3, or vbd3.7 for a daemon that serves domain 7 alone.</summary>
    public static string NameOf(string backend, int? frontend) =>
        frontend is int domain ? $"{backend}.{domain}" : backend;
}

internal static class ControlSocketPath
{
    /// <summary>The size of sockaddr_un.sun_path without the terminating zero.</summary>
    public const int MaxBytes = 107;

    public static string Standard(string backend, int? frontend) =>
        System.IO.Path.Combine(RuntimeFolder.Path, RuntimeFolder.NameOf(backend, frontend) + ".sock");
}
