using System.Reflection;
using System.Runtime.InteropServices;
using Blkring.Generators.Layout;
using Blkring.Generators.Model;

namespace Blkring.Layouts.Tests;

/// <summary>
/// Xen's headers as gcc compiles them, the spec, and the generated structs as the runtime lays them out: all three
/// agree.
/// </summary>
public sealed class LayoutTests
{
    [Theory]
    [MemberData(nameof(Specs.ProtocolsAndAbis), MemberType = typeof(Specs))]
    public void Every_struct_of_the_spec_is_probed(string protocol, string abi)
    {
        ProtocolSpec spec = Specs.Find(protocol);
        IEnumerable<string> expected = spec.Composites.Select(c => c.Name);

        Assert.True(spec.Composites.Count + spec.Constants.Count > 0);
        Assert.Equal(expected.Order(), HeaderProbe.Of(protocol, abi).StructNames.Order());
    }

    [Theory]
    [MemberData(nameof(Specs.ProtocolsAndAbis), MemberType = typeof(Specs))]
    public void Sizes_are_those_of_C(string protocol, string abi)
    {
        HeaderProbe headers = HeaderProbe.Of(protocol, abi);
        ProtocolLayout layout = Specs.Layout(protocol);
        AbiLayout ours = Specs.Layout(protocol, abi);

        Assert.All(
            ours.Types,
            type =>
            {
                Assert.Equal(headers.SizeOf(type.CName), type.Size);
                Assert.Equal(
                    headers.SizeOf(type.CName),
                    ManagedLayout.SizeOf(ManagedLayout.Find(layout.ClassName, ours.Tag, type.Name))
                );
            }
        );
    }

    [Theory]
    [MemberData(nameof(Specs.ProtocolsAndAbis), MemberType = typeof(Specs))]
    public void Members_lie_where_C_puts_them(string protocol, string abi)
    {
        HeaderProbe headers = HeaderProbe.Of(protocol, abi);
        ProtocolLayout layout = Specs.Layout(protocol);
        AbiLayout ours = Specs.Layout(protocol, abi);

        Assert.All(
            ours.Types,
            type =>
            {
                Type managed = ManagedLayout.Find(layout.ClassName, ours.Tag, type.Name);
                Assert.Equal(type.Fields.Select(f => f.Name), managed.GetFields().Select(f => f.Name));
                Assert.All(type.Fields, field => CheckMember(headers.Member(type.CName, field.CName), field, managed));
                if (type.Tail is not { } tail)
                    return;
                Assert.Equal(headers.Tail(type.CName, tail.CName), (tail.Offset, tail.ElementSize));
                Assert.Equal(tail.Offset, managed.GetProperty(tail.Name)!.GetValue(null));
            }
        );
    }

    private static void CheckMember(
        (int Offset, int Size, int ElementSize, bool IsSigned) c,
        FieldLayout field,
        Type managed
    )
    {
        Assert.Equal(c, (field.Offset, field.Size, field.ElementSize, field.IsSigned));

        FieldInfo info = managed.GetField(field.Name)!;
        Assert.Equal(c.Offset, info.GetCustomAttribute<FieldOffsetAttribute>()!.Value);
        Assert.Equal((c.Offset, c.Size), ManagedLayout.FieldSpan(managed, info));
        (Type element, int count) = ManagedLayout.ElementsOf(info.FieldType);
        Assert.Equal(field.Count, count);
        Assert.Equal(c.ElementSize, ManagedLayout.SizeOf(element));
        Assert.Equal(
            c.IsSigned,
            element == typeof(sbyte) || element == typeof(short) || element == typeof(int) || element == typeof(long)
        );
    }

    [Theory]
    [MemberData(nameof(Specs.ProtocolsAndAbis), MemberType = typeof(Specs))]
    public void Typedefs_are_those_of_C(string protocol, string abi)
    {
        HeaderProbe headers = HeaderProbe.Of(protocol, abi);
        var types = new TypeTable(Specs.Find(protocol));

        Assert.All(
            Specs.Find(protocol).Typedefs,
            typedef =>
            {
                ScalarType scalar = types.Scalar(typedef.Name)!;
                Assert.Equal(headers.Typedef(typedef.Name), (scalar.Size, scalar.IsSigned));
            }
        );
    }

    [Theory]
    [MemberData(nameof(Specs.ProtocolsAndAbis), MemberType = typeof(Specs))]
    public void Constants_are_those_of_C(string protocol, string abi)
    {
        HeaderProbe headers = HeaderProbe.Of(protocol, abi);
        Type managed = ManagedLayout.Protocol(Specs.Layout(protocol).ClassName);

        Assert.All(
            Specs.Find(protocol).Constants,
            constant =>
            {
                object? ours = managed.GetField(CSharpName.Of(constant, protocol))?.GetRawConstantValue();
                if (constant.Text is null)
                {
                    Assert.Equal(headers.Constant(constant.Name), constant.Value);
                    Assert.Equal(
                        headers.Constant(constant.Name),
                        Convert.ToDecimal(ours, System.Globalization.CultureInfo.InvariantCulture)
                    );
                }
                else
                {
                    Assert.Equal(headers.Text(constant.Name), constant.Text);
                    Assert.Equal(headers.Text(constant.Name), ours);
                }
            }
        );
    }

    [Theory]
    [MemberData(nameof(Specs.Protocols), MemberType = typeof(Specs))]
    public void Every_public_struct_and_constant_comes_from_the_spec(string protocol)
    {
        ProtocolLayout layout = Specs.Layout(protocol);
        Type managed = ManagedLayout.Protocol(layout.ClassName);
        IEnumerable<Type> tags = layout.Abis.Select(a => managed.GetNestedType(a.Tag)).OfType<Type>();
        IEnumerable<string> structs = tags.Append(managed)
            .SelectMany(t => t.GetNestedTypes())
            .Where(t => t.IsExplicitLayout)
            .Select(t => t.Name)
            .Distinct();

        Assert.Equal(layout.Abis.SelectMany(a => a.Types).Select(t => t.Name).Distinct().Order(), structs.Order());
        Assert.Equal(
            layout.Constants.Select(c => CSharpName.Of(c, protocol)).Append(CSharpName.LayoutFingerprint).Order(),
            managed
                .GetFields(BindingFlags.Public | BindingFlags.Static)
                .Where(f => f.IsLiteral)
                .Select(f => f.Name)
                .Order()
        );
        Assert.Equal(
            LayoutFingerprint.Of(layout),
            managed.GetField(CSharpName.LayoutFingerprint)!.GetRawConstantValue()
        );
    }

    [Theory]
    [MemberData(nameof(Specs.ProtocolsOfHeaders), MemberType = typeof(Specs))]
    public void No_constant_of_the_headers_is_missing_from_the_spec(string protocol)
    {
        ProtocolSpec spec = Specs.Find(protocol);
        // Its value is one of the other three, by the compiler's target: no constant of a build that serves all of
        // them. fsif.h's need a PAGE_SIZE that no header defines.
        string[] leftOut = ["XEN_IO_PROTO_ABI_NATIVE", "FSIF_NR_READ_GNTS", "FSIF_NR_WRITE_GNTS"];
        string[] macros = [.. spec.Constants.Where(c => c.Enum is null).Select(c => c.Name)];
        string[] families =
        [
            .. macros.Select(name => name[..(name.IndexOf('_', StringComparison.Ordinal) + 1)]).Distinct(),
        ];

        IEnumerable<string> defined = Defines(spec)
            .Where(name => families.Any(f => name.StartsWith(f, StringComparison.Ordinal)));

        Assert.Equal(macros.Order(), defined.Distinct().Except(leftOut).Order());
    }

    /// <summary>Names of the macros without parameters that the spec's own headers define.</summary>
    private static IEnumerable<string> Defines(ProtocolSpec spec)
    {
        string[] headers = [.. spec.Constants.Select(c => c.Header).Append(spec.Header).Distinct()];
        string source = "#include <stdint.h>\n" + string.Concat(headers.Select(h => $"#include <{h}>\n"));
        bool isOurs = false;
        foreach (string line in CProbe.Preprocess(source))
        {
            string[] words = line.Split(' ');
            // A line marker: # 12 "/usr/include/xen/io/blkif.h" 2
            if (words[0] == "#" && words.Length > 2)
                isOurs = headers.Any(h => words[2].EndsWith($"/{h}\"", StringComparison.Ordinal));
            else if (
                isOurs
                && words[0] == "#define"
                && words.Length > 2
                && words[2].Length > 0
                && !words[1].Contains('(', StringComparison.Ordinal)
            )
                yield return words[1];
        }
    }

    [Theory]
    [MemberData(nameof(Specs.ProtocolsAndAbis), MemberType = typeof(Specs))]
    public void Rings_have_as_many_entries_as_in_C(string protocol, string abi)
    {
        HeaderProbe headers = HeaderProbe.Of(protocol, abi);
        ProtocolLayout layout = Specs.Layout(protocol);

        Assert.All(
            layout.Rings,
            ring =>
            {
                RingAbiLayout entries = ring.Abis.Single(a => a.AbiName == abi);
                Type protocolClass = ManagedLayout.Protocol(layout.ClassName);
                Type tag = protocolClass.GetNestedType(entries.Tag)!;
                Type back = protocolClass.GetNestedType(RingNames.Back(ring.Prefix) + "`1")!.MakeGenericType(tag);

                Assert.Equal(headers.EntrySize(ring.CName), entries.EntrySize);
                Assert.Equal(entries.EntrySize, StaticValue(tag, RingNames.Interface(ring.Prefix), "EntrySize"));
                Assert.Equal(abi, StaticValue(tag, RingNames.Interface(ring.Prefix), "AbiName"));
                Assert.All(
                    HeaderProbe.RingPages,
                    pages =>
                    {
                        (int constant, int actual) = headers.EntryCount(ring.CName, pages);
                        Assert.Equal(constant, actual);
                        Assert.Equal(constant, back.GetMethod("EntryCountFor")!.Invoke(null, [pages]));
                    }
                );
            }
        );
    }

    private static object? StaticValue(Type tag, string ring, string property) =>
        tag.GetProperties(BindingFlags.Static | BindingFlags.NonPublic)
            .Single(p => p.Name.EndsWith($".{ring}.{property}", StringComparison.Ordinal))
            .GetValue(null);
}
