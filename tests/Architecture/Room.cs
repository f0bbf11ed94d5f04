namespace Blkring.Architecture.Tests;

/// <summary>A namespace of src/, and the rooms whose types it may use.</summary>
internal sealed record Room(string Namespace, IReadOnlyList<string> Uses)
{
    private const string Root = "Blkring";
    private const string RootName = "Program";

    /// <summary>The name in diagrams and tables: Engine/Disks for Blkring.Engine.Disks.</summary>
    public string Name => Namespace == Root ? RootName : Namespace[(Root.Length + 1)..].Replace('.', '/');

    /// <summary>The namespace that rooms.txt names without its root.</summary>
    public static string FullName(string name) => name == RootName ? Root : $"{Root}.{name.Trim()}";
}
