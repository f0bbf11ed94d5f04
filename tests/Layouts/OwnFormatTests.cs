using System.Reflection;
using System.Runtime.CompilerServices;
using Blkring.Abi;
using Blkring.Generators.Layout;
using Blkring.Generators.Model;

namespace Blkring.Layouts.Tests;

/// <summary>
/// Formats of Blkring's own have no header to be compared with: the runtime lays them out as the spec says.
/// </summary>
public sealed class OwnFormatTests
{
    [Theory]
    [MemberData(nameof(Specs.OwnProtocols), MemberType = typeof(Specs))]
    public void Members_lie_where_the_spec_says(string protocol)
    {
        ProtocolLayout layout = Specs.Layout(protocol);

        Assert.All(
            layout.SharedTypes,
            type =>
            {
                Type managed = ManagedLayout.Find(layout.ClassName, layout.Abis[0].Tag, type.Name);
                Assert.Equal(type.Size, ManagedLayout.SizeOf(managed));
                Assert.Equal(
                    type.Fields.Select(f => (f.Name, f.Offset, f.Size)),
                    managed.GetFields().Select(f => Place(managed, f))
                );
            }
        );
    }

    [Theory]
    [MemberData(nameof(Specs.OwnProtocols), MemberType = typeof(Specs))]
    public void Every_machine_lays_them_out_alike(string protocol)
    {
        ProtocolSpec spec = Specs.Find(protocol);
        AbiSpec[] machines = [new("align_8", 8, ""), new("align_4", 4, "")];

        ProtocolLayout layout = LayoutCalculator.Calculate(spec with { Abis = new(machines) }).Layout!;

        Assert.Equal(
            layout.Abis[0].Types.Select(t => t.CName).Order(),
            layout.SharedTypes.Select(t => t.CName).Order()
        );
    }

    /// <summary>The ring's codec decodes into a journal's record: no copy, so the two must lie alike.</summary>
    [Fact]
    public void The_journals_request_lies_as_the_decoded_one()
    {
        (string, int, int)[] decoded = [.. Leaves(typeof(Blkif.DecodedRequest), "", 0)];

        Assert.Equal(decoded, Leaves(typeof(Journal.Request), "", 0));
        Assert.Equal(Unsafe.SizeOf<Blkif.DecodedRequest>(), Unsafe.SizeOf<Journal.Request>());
        Assert.Equal(Blkif.MaxSegmentsPerRequest, Journal.MaxSegments);
        Assert.Equal(Blkif.MaxIndirectPagesPerRequest, Journal.MaxIndirectPages);
    }

    /// <summary>Every integer of a type, down through its structs and arrays: path, offset, size.</summary>
    private static IEnumerable<(string Path, int Offset, int Size)> Leaves(Type type, string path, int offset)
    {
        if (type.IsPrimitive)
            return [(path, offset, ManagedLayout.SizeOf(type))];
        (Type element, int count) = ManagedLayout.ElementsOf(type);
        return count > 0
            ? Enumerable
                .Range(0, count)
                .SelectMany(i => Leaves(element, $"{path}[{i}]", offset + (i * ManagedLayout.SizeOf(element))))
            : type.GetFields()
                .SelectMany(f =>
                    Leaves(f.FieldType, $"{path}.{f.Name}", offset + ManagedLayout.FieldSpan(type, f).Offset)
                );
    }

    private static (string Name, int Offset, int Size) Place(Type type, FieldInfo field)
    {
        (int offset, int size) = ManagedLayout.FieldSpan(type, field);
        return (field.Name, offset, size);
    }
}
