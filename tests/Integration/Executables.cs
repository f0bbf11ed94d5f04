namespace Blkring.Integration.Tests;

/// <summary>The programs under test, as they were built with the tests.</summary>
internal static class Executables
{
    /// <summary>Release or Debug, as the tests themselves were built.</summary>
    private static string Configuration { get; } = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name;

    public static string Blkring { get; } = Repository.PathOf($"src/Blkring/bin/{Configuration}/net10.0/blkring");
}
