namespace Blkring.Integration.Tests;

/// <summary>
/// The programs under test: the native ones that <c>./test</c> publishes and names in NATIVE_BLKRING, or what was built
/// with the tests.
/// </summary>
internal static class Executables
{
    /// <summary>Release or Debug, as the tests themselves were built.</summary>
    private static string Configuration { get; } = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name;

    /// <summary>The native executable; null without one.</summary>
    public static string? Native { get; } = Environment.GetEnvironmentVariable("NATIVE_BLKRING");

    public static string Blkring { get; } =
        Native ?? Repository.PathOf($"src/Blkring/bin/{Configuration}/net10.0/blkring");
}
