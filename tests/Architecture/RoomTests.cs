using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Blkring.Architecture.Tests;

/// <summary>The walls between the rooms of src/: who uses whom, read from the code and compared with the map.</summary>
public sealed class RoomTests
{
    private static readonly Lazy<IReadOnlyList<Arrow>> s_compiled = new(() =>
        ArrowReader.ReadAssemblies(
            Sources.Projects.Select(project => Path.Combine(AppContext.BaseDirectory, $"{project.AssemblyName}.dll"))
        )
    );

    private static readonly Lazy<IReadOnlyList<Arrow>> s_actual = new(() =>
        [
            .. s_compiled
                .Value.Concat(Sources.FilesOf("src").SelectMany(ArrowReader.ReadUsings))
                .DistinctBy(arrow => (arrow.From, arrow.To))
                .Where(arrow => arrow.From != arrow.To),
        ]
    );

    [Fact]
    public void Every_namespace_is_a_room() =>
        AssertNone(
            s_actual
                .Value.SelectMany(arrow => new[] { (Room: arrow.From, arrow.SeenIn), (Room: arrow.To, arrow.SeenIn) })
                .Where(use => RoomMap.Rooms.All(room => room.Namespace != use.Room))
                .Select(use => $"{use.Room} is not in rooms.txt: {use.SeenIn}")
        );

    [Fact]
    public void No_room_uses_another_that_it_may_not_use() =>
        AssertNone(Wrong(s_actual.Value).Where(arrow => !RoomMap.Exceptions.Contains((arrow.From, arrow.To))));

    [Fact]
    public void Every_allowed_arrow_is_used() =>
        AssertNone(
            from room in RoomMap.Rooms
            from use in room.Uses
            where !s_actual.Value.Any(arrow => arrow.From == room.Namespace && arrow.To == use)
            select $"{room.Namespace} no longer uses {use}: take it from rooms.txt"
        );

    [Fact]
    public void Every_exception_is_still_needed() =>
        AssertNone(
            RoomMap
                .Exceptions.Where(pair => !s_actual.Value.Any(arrow => (arrow.From, arrow.To) == pair))
                .Select(pair => $"{pair.From} no longer uses {pair.To}: take the exception from rooms.txt")
        );

    // The map lists the rooms ground up, so an arrow that goes up, and with it any circle, is an error of the map.
    [Fact]
    public void Rooms_use_only_rooms_below_them()
    {
        List<string> below = [];
        foreach (Room room in RoomMap.Rooms)
        {
            Assert.Equal("", string.Join('\n', room.Uses.Except(below).Select(use => $"{room.Namespace} uses {use}")));
            below.Add(room.Namespace);
        }
    }

    [Fact]
    public void Every_namespace_is_its_folder()
    {
        AssertNone(
            from file in Sources.FilesOf("src")
            from name in NamespacesIn(Repository.Read(file))
            where name != ExpectedNamespace(file) && !IsPolyfill(name)
            select $"{file}: namespace {name}, expected {ExpectedNamespace(file)}"
        );
        Assert.Equal("Blkring.Engine.Queues", ExpectedNamespace("src/Engine/Queues/VbdQueue.cs"));
        Assert.Equal(["A.B", ""], NamespacesIn("namespace A.B { class C; } enum D;"));
    }

    [Fact]
    public void A_wrong_arrow_would_be_noticed()
    {
        Arrow upwards = new("Blkring.Engine.Memory", "Blkring.Engine.Xenbus", "a test");
        Assert.Equal([upwards], Wrong([upwards]));
        IReadOnlyList<Arrow> own = ArrowReader.ReadAssemblies([typeof(RoomTests).Assembly.Location]);
        Assert.Contains(own, arrow => arrow.From == SampleLow && arrow.To == SampleHigh);
        Assert.DoesNotContain(own, arrow => arrow.From == SampleHigh && arrow.To == SampleLow);
    }

    [Fact]
    public void Every_way_to_use_a_type_is_seen()
    {
        IReadOnlyList<Arrow> own = ArrowReader.ReadAssemblies([typeof(RoomTests).Assembly.Location]);
        Assert.Equal(
            Enumerable.Range(1, 9).Select(way => $"{SampleLow}.Way{way}").Order(),
            own.Where(arrow => arrow.From.StartsWith($"{SampleLow}.Way", StringComparison.Ordinal))
                .Where(arrow => arrow.To == SampleHigh)
                .Select(arrow => arrow.From)
                .Order()
        );
    }

    [Fact]
    public void The_table_of_ARCHITECTURE_is_that_of_the_map() =>
        CheckedFile.Check("ARCHITECTURE.md", RoomTable.Fill(Repository.Read("ARCHITECTURE.md"), RoomMap.Rooms));

    [Fact]
    public void The_diagram_is_that_of_the_map() =>
        CheckedFile.Check("docs/images/architecture.svg", RoomDiagram.Draw(RoomMap.Rooms));

    private const string SampleLow = "Blkring.Architecture.Tests.SampleLow";
    private const string SampleHigh = "Blkring.Architecture.Tests.SampleHigh";

    private static IEnumerable<Arrow> Wrong(IEnumerable<Arrow> arrows) =>
        arrows.Where(arrow =>
            RoomMap.Rooms.FirstOrDefault(room => room.Namespace == arrow.From) is { } from
            && !from.Uses.Contains(arrow.To)
        );

    private static bool IsPolyfill(string name) => name == "System.Runtime.CompilerServices";

    private static string[] NamespacesIn(string source) =>
        [
            .. CSharpSyntaxTree
                .ParseText(source)
                .GetRoot()
                .DescendantNodes()
                .OfType<BaseTypeDeclarationSyntax>()
                .Select(type => type.Ancestors().OfType<BaseNamespaceDeclarationSyntax>())
                .Select(spaces => string.Join('.', spaces.Reverse().Select(space => space.Name.ToString())))
                .Distinct(),
        ];

    private static string ExpectedNamespace(string file)
    {
        SourceProject project = Sources
            .Projects.Where(project => file.StartsWith(project.Folder + "/", StringComparison.Ordinal))
            .MaxBy(project => project.Folder.Length)!;
        string folder = Path.GetRelativePath(project.Folder, Path.GetDirectoryName(file)!);
        return folder == "." ? project.RootNamespace : $"{project.RootNamespace}.{folder.Replace('/', '.')}";
    }

    private static void AssertNone<T>(IEnumerable<T> offences)
    {
        string text = string.Join('\n', offences);
        Assert.True(text.Length == 0, text);
    }
}
