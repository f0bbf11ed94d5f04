using System.Reflection;

namespace Blkring.Engine.Tests.Kit;

/// <summary>The tree that these tests were built from.</summary>
internal static class Repository
{
    public static string Root { get; } =
        typeof(Repository)
            .Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
            .Single(attribute => attribute.Key == "RepositoryRoot")
            .Value!;

    public static string PathOf(string relative) => Path.Combine(Root, relative);
}
