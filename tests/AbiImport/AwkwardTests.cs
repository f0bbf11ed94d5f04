using System.Globalization;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Blkring.Abi;
using Blkring.AbiTools;
using Blkring.AbiTools.Layouts;
using Blkring.Generators.Layout;
using Blkring.Layouts.Tests;

namespace Blkring.AbiImport.Tests;

/// <summary>
/// Bit fields, alignments of their own, parts without names, words of a machine and keywords of C#: awkward/awkward.h,
/// imported, generated into this assembly, and compared with what gcc makes of the header, by the bytes that each side
/// writes and the values that it reads. What Arm makes of it, the import itself has compared with libclang: it writes
/// no spec that differs.
/// </summary>
public sealed class AwkwardTests
{
    private const ulong Odd = 0x9249249249249249;
    private static readonly string Folder = Path.Combine(AppContext.BaseDirectory, "awkward");
    private static readonly string Header = Path.Combine(Folder, "awkward.h");
    private static readonly AbiSource Source = AbiSource.Read(Path.Combine(Folder, "awkward.xml"));

    public static TheoryData<string> Abis() => [.. Source.Model.Abis.Where(CProbe.IsOfHost)];

    [Fact]
    public void The_spec_is_what_the_import_writes() =>
        Assert.Equal(File.ReadAllText(Path.Combine(Folder, "awkward.xml")), Headers.Import(Header));

    [Theory]
    [MemberData(nameof(Abis))]
    public void Types_have_the_size_and_alignment_of_C(string abi)
    {
        IEnumerable<TypeLayout> types = Named(abi).Where(t => t.CName != "awkward_sring");

        string[] c = Probe(
            abi,
            string.Concat(
                types.Select(t => $"    printf(\"{t.CType} %zu %zu\\n\", sizeof({t.CType}), _Alignof({t.CType}));\n")
            )
        );

        Assert.Equal(types.Select(t => $"{t.CType} {t.Size} {t.Alignment}"), c);
        Assert.All(types, t => Assert.Equal(t.Size, ManagedLayout.SizeOf(Managed(abi, t.Name))));
    }

    [Theory]
    [MemberData(nameof(Abis))]
    public void A_member_that_C_fills_with_ones_has_the_bits_of_the_spec(string abi)
    {
        Leaf[] leaves = [.. Named(abi).SelectMany(t => Leaves(abi, t))];

        string[] c = Probe(
            abi,
            string.Concat(
                leaves.Select(leaf =>
                    Dump(
                        leaf,
                        leaf.Field.IsBitField
                            ? $"v.{leaf.CPath} = -1;"
                            : $"memset(&v.{leaf.CPath}, 0xff, sizeof(v.{leaf.CPath}));"
                    )
                )
            )
        );

        Assert.Equal(leaves.Select(leaf => Hex(Ones(abi, leaf))), c);
    }

    [Theory]
    [MemberData(nameof(Abis))]
    public void A_value_that_C_writes_is_the_value_that_CSharp_reads(string abi)
    {
        Leaf[] leaves = [.. Named(abi).SelectMany(t => Leaves(abi, t)).Where(leaf => !leaf.Field.IsArray)];

        string[] c = Probe(
            abi,
            string.Concat(
                leaves.Select(leaf =>
                    $"    {{ {leaf.Owner.CType} v; memset(&v, 0, sizeof(v)); v.{leaf.CPath} = {Odd}ull; "
                    + $"printf(\"%llu \", (unsigned long long)v.{leaf.CPath}); {PrintBytes}}}\n"
                )
            )
        );

        Assert.Equal(leaves.Length, c.Length);
        Assert.All(
            leaves.Zip(c),
            pair =>
            {
                string[] fact = pair.Second.Split(' ');
                object value = Box(abi, pair.First.Owner, Convert.FromHexString(fact[1]));
                Assert.Equal(ulong.Parse(fact[0], CultureInfo.InvariantCulture), Bits(Get(value, pair.First)));
            }
        );
    }

    [Theory]
    [MemberData(nameof(Abis))]
    public void A_value_that_CSharp_writes_among_others_gives_the_bytes_of_C(string abi)
    {
        Leaf[] leaves =
        [
            .. Named(abi).SelectMany(t => Leaves(abi, t)).Where(leaf => leaf.Field.IsBitField && leaf.Path.Count == 1),
        ];

        string[] c = Probe(
            abi,
            string.Concat(
                leaves.Select(leaf =>
                    $"    {{ {leaf.Owner.CType} v; memset(&v, 0xa5, sizeof(v)); v.{leaf.CPath} = {Odd}ull; "
                    + $"{PrintBytes}}}\n"
                )
            )
        );

        Assert.NotEmpty(leaves);
        Assert.Equal(
            c,
            leaves.Select(leaf =>
            {
                object value = Box(abi, leaf.Owner, [.. Enumerable.Repeat((byte)0xa5, leaf.Owner.Size)]);
                PropertyInfo property = value.GetType().GetProperty(leaf.Field.Name)!;
                property.SetValue(value, Truncated(property.PropertyType));
                return Hex(Bytes(value, leaf.Owner.Size).ToArray());
            })
        );
    }

    [Theory]
    [MemberData(nameof(Abis))]
    public void A_request_with_bit_fields_crosses_the_ring_as_C_wrote_it(string abi)
    {
        string line = Assert.Single(
            Probe(
                abi,
                $$"""
                    { union awkward_sring_entry v; memset(&v, 0, sizeof(v));
                    v.req.operation = 1; v.req.urgent = 1; v.req.level = 5; v.req.id = 77;
                    v.req.shift = -900; v.req.length = 8191;
                    v.req.detail.first = 0xabcde; v.req.detail.second = -2;
                    v.req.detail.third = 0x123456789abcdefull; v.req.detail.last = 9;
                    {{PrintBytes}}}

                """
            )
        );
        byte[] entry = Convert.FromHexString(line);

        (Awkward.DecodedRequest request, byte[] written) = abi switch
        {
            "native" => Cross<Awkward.Native>(entry),
            "x86_32" => Cross<Awkward.X86_32>(entry),
            _ => Cross<Awkward.X86_64>(entry),
        };

        Assert.Equal(
            (1, 1, 5, 77ul, -900, 8191u),
            (request.Operation, request.Urgent, request.Level, request.Id, request.Shift, request.Length)
        );
        Assert.Equal(
            (0xabcdeu, -2, 0x123456789abcdeful, 9),
            (request.Detail.First, request.Detail.Second, request.Detail.Third, request.Detail.Last)
        );
        Assert.Equal(line, Hex(written));
    }

    [Fact]
    public void Keywords_of_CSharp_are_names_of_members_like_others()
    {
        var keywords = new Awkward.Keywords
        {
            Namespace = 1,
            Event = 2,
            In = 3,
            Out = 4,
        };

        Assert.Equal((1, 2, 3u, 4u), (keywords.Namespace, keywords.Event, keywords.In, keywords.Out));
    }

    private static unsafe (Awkward.DecodedRequest Request, byte[] Written) Cross<TAbi>(byte[] entry)
        where TAbi : Awkward.IRing
    {
        var request = default(Awkward.DecodedRequest);
        byte[] written = new byte[entry.Length];
        Assert.Equal(entry.Length, TAbi.EntrySize);
        fixed (
            byte* from = entry,
                to = written
        )
        {
            TAbi.ReadRequest(from, ref request);
            TAbi.WriteRequest(to, in request);
        }
        return (request, written);
    }

    /// <summary>A member that has no members, as C reaches it from a type with a name.</summary>
    private sealed record Leaf(
        TypeLayout Owner,
        string CPath,
        FieldLayout Field,
        int FirstBit,
        IReadOnlyList<FieldLayout> Path
    );

    private static IEnumerable<TypeLayout> Named(string abi) => Layout(abi).Types.Where(t => t.CType.Length > 0);

    private static AbiLayout Layout(string abi) => Source.Layout.Abis.Single(a => a.Name == abi);

    private static IEnumerable<Leaf> Leaves(string abi, TypeLayout owner) => Leaves(abi, owner, owner, "", 0, []);

    private static IEnumerable<Leaf> Leaves(
        string abi,
        TypeLayout owner,
        TypeLayout type,
        string cPath,
        int offset,
        FieldLayout[] path
    )
    {
        foreach (FieldLayout field in type.Fields)
        {
            TypeLayout? inner = field.Composite is null
                ? null
                : Layout(abi).Types.Single(t => t.CName == field.Composite);
            int at = offset + field.Offset;
            // What has no name in C is no part of a path.
            string before = inner is { CType: "" } ? cPath : $"{cPath}{field.CPath}.";
            if (inner is null || field.IsArray)
                yield return new Leaf(owner, before.TrimEnd('.'), field, (8 * at) + field.BitOffset, [.. path, field]);
            else
            {
                foreach (Leaf leaf in Leaves(abi, owner, inner, before, at, [.. path, field]))
                    yield return leaf;
            }
        }
    }

    private const string PrintBytes =
        "for (unsigned i = 0; i < sizeof(v); i++) printf(\"%02x\", ((unsigned char *)&v)[i]); printf(\"\\n\"); ";

    private static string Dump(Leaf leaf, string store) =>
        $"    {{ {leaf.Owner.CType} v; memset(&v, 0, sizeof(v)); {store} {PrintBytes}}}\n";

    private static string[] Probe(string abi, string body) =>
        CProbe.Run(
            new StringBuilder("#include <stdint.h>\n#include <stdio.h>\n#include <string.h>\n")
                .Append(
                    CultureInfo.InvariantCulture,
                    $"#include \"{Header}\"\nint main(void)\n{{\n{body}    return 0;\n}}\n"
                )
                .ToString(),
            CProbe.MachineOf(abi)
        );

    private static byte[] Ones(string abi, Leaf leaf)
    {
        // In C a shared ring ends with its first entry.
        byte[] bytes = new byte[
            leaf.Owner.CName == "awkward_sring"
                ? leaf.Owner.Size + Source.Layout.Rings[0].Abis.Single(a => a.AbiName == abi).EntrySize
                : leaf.Owner.Size
        ];
        int bits = leaf.Field.IsBitField ? leaf.Field.BitWidth : 8 * leaf.Field.Size;
        for (int bit = leaf.FirstBit; bit < leaf.FirstBit + bits; bit++)
            bytes[bit / 8] |= (byte)(1 << (bit % 8));
        return bytes;
    }

    private static string Hex(byte[] bytes) => Convert.ToHexStringLower(bytes);

    private static Type Managed(string abi, string name) =>
        ManagedLayout.Find(Source.Layout.ClassName, Layout(abi).Tag, name);

    private static object Box(string abi, TypeLayout type, byte[] bytes)
    {
        object value = RuntimeHelpers.GetUninitializedObject(Managed(abi, type.Name));
        bytes.AsSpan(0, type.Size).CopyTo(Bytes(value, type.Size));
        return value;
    }

    private static Span<byte> Bytes(object boxed, int size) =>
        MemoryMarshal.CreateSpan(ref Unsafe.As<Boxed>(boxed).FirstByte, size);

    private static object Get(object value, Leaf leaf)
    {
        foreach (FieldLayout step in leaf.Path)
            value = step.IsBitField
                ? value.GetType().GetProperty(step.Name)!.GetValue(value)!
                : value.GetType().GetField(step.Name)!.GetValue(value)!;
        return value;
    }

    /// <summary>As C converts to unsigned long long: a negative value keeps its sign.</summary>
    private static ulong Bits(object value) =>
        value is sbyte or short or int or long
            ? (ulong)Convert.ToInt64(value, CultureInfo.InvariantCulture)
            : Convert.ToUInt64(value, CultureInfo.InvariantCulture);

    private static object Truncated(Type type) =>
        Type.GetTypeCode(type) switch
        {
            TypeCode.Byte => unchecked((byte)Odd),
            TypeCode.SByte => unchecked((sbyte)Odd),
            TypeCode.UInt16 => unchecked((ushort)Odd),
            TypeCode.Int16 => unchecked((short)Odd),
            TypeCode.UInt32 => unchecked((uint)Odd),
            TypeCode.Int32 => unchecked((int)Odd),
            TypeCode.Int64 => unchecked((long)Odd),
            _ => Odd,
        };

    // A boxed value's bytes follow its type pointer, where a class has its first field.
    private sealed class Boxed
    {
        public byte FirstByte;
    }
}
