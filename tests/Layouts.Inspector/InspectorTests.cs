using System.Reflection;
using System.Runtime.InteropServices;
using Blkring.Abi;
using ObjectLayoutInspector;

namespace Blkring.Layouts.Inspector;

/// <summary>
/// The generated structs as ObjectLayoutInspector sees them. It reads the runtime's own field offsets, so it is a
/// second witness of what tests/Layouts measures by writing to fields.
/// </summary>
public sealed class InspectorTests(ITestOutputHelper output)
{
    /// <summary>Every struct that the generator emitted with an explicit layout.</summary>
    public static TheoryData<string> Structs() =>
        [
            .. new[] { typeof(Blkif), typeof(GrantTable) }
                .SelectMany(Nested)
                .Where(t => t.IsExplicitLayout)
                .Select(t => t.FullName!),
        ];

    [Theory]
    [MemberData(nameof(Structs))]
    public void The_runtime_lays_a_struct_out_as_its_attributes_say(string name)
    {
        Type type = typeof(Blkif).Assembly.GetType(name, throwOnError: true)!;
        TypeLayout layout = (TypeLayout)Generic(nameof(Layout), type).Invoke(null, null)!;
        output.WriteLine($"{layout}");

        Assert.Equal(type.StructLayoutAttribute!.Size, layout.Size);
        FieldLayout[] fields = [.. layout.Fields.OfType<FieldLayout>()];
        Assert.Equal(type.GetFields().Length, fields.Length);
        Assert.All(
            fields,
            field => Assert.Equal(field.FieldInfo.GetCustomAttribute<FieldOffsetAttribute>()!.Value, field.Offset)
        );
    }

    /// <summary>For a person to read: the layouts of a request in each ABI, on the console.</summary>
    [Fact]
    public void Requests_are_printed()
    {
        TextWriter console = Console.Out;
        using var printed = new StringWriter();
        Console.SetOut(printed);
        try
        {
            TypeLayout.PrintLayout<Blkif.X86_32.Request>();
            TypeLayout.PrintLayout<Blkif.X86_64.Request>();
        }
        finally
        {
            Console.SetOut(console);
        }
        output.WriteLine(printed.ToString());
        Assert.Contains(nameof(Blkif.X86_32.Request.SectorNumber), printed.ToString(), StringComparison.Ordinal);
    }

    private static TypeLayout Layout<T>() => TypeLayout.GetLayout<T>();

    private static MethodInfo Generic(string method, Type type) =>
        typeof(InspectorTests).GetMethod(method, BindingFlags.NonPublic | BindingFlags.Static)!.MakeGenericMethod(type);

    private static IEnumerable<Type> Nested(Type type) => type.GetNestedTypes().SelectMany(t => Nested(t).Prepend(t));
}
