using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Blkring.Generators.Layout;
using Blkring.Generators.Model;

namespace Blkring.Layouts.Tests;

/// <summary>
/// What Xen's headers say of everything a spec lists, as a C compiler sees it. The list is the spec's: what is added to
/// the spec is probed without a change here. Sizes and offsets in bytes.
/// </summary>
internal sealed class HeaderProbe
{
    public static readonly int[] RingPages = [1, 2, 4, 8, 16];

    private static readonly ConcurrentDictionary<(string Protocol, string Abi), HeaderProbe> Probes = new();

    private readonly Dictionary<string, string[]> _facts;

    private HeaderProbe(string protocol, string abi) =>
        _facts = CProbe
            .Run(Source(Specs.Find(protocol), Specs.Layout(protocol, abi)), CProbe.MachineOf(abi))
            .Select(line => line.Split('|'))
            .ToDictionary(fact => fact[0] + " " + fact[1], fact => fact[2..]);

    public static HeaderProbe Of(string protocol, string abi) =>
        Probes.GetOrAdd((protocol, abi), key => new(key.Protocol, key.Abi));

    public IEnumerable<string> StructNames =>
        _facts.Keys.Where(k => k.StartsWith("type ", StringComparison.Ordinal)).Select(k => k[5..]);

    public int SizeOf(string type) => Number($"type {type}", 0);

    public (int Offset, int Size, int ElementSize, bool IsSigned) Member(string type, string member)
    {
        string key = $"member {type}.{member}";
        return (Number(key, 0), Number(key, 1), Number(key, 2), Number(key, 3) != 0);
    }

    public (int Offset, int ElementSize) Tail(string type, string tail) =>
        (Number($"tail {type}.{tail}", 0), Number($"tail {type}.{tail}", 1));

    public (int Size, bool IsSigned) Typedef(string name) =>
        (Number($"typedef {name}", 0), Number($"typedef {name}", 1) != 0);

    public decimal Constant(string name)
    {
        string[] fact = _facts[$"constant {name}"];
        ulong bits = ulong.Parse(fact[1], CultureInfo.InvariantCulture);
        return fact[0] == "1" ? (long)bits : bits;
    }

    public string Text(string name) => string.Join('|', _facts[$"string {name}"]);

    public int EntrySize(string ring) => Number($"entry {ring}", 0);

    /// <summary>__CONST_RING_SIZE and __RING_SIZE, which must agree.</summary>
    public (int Constant, int Actual) EntryCount(string ring, int pages) =>
        (Number($"ring {ring}/{pages}", 0), Number($"ring {ring}/{pages}", 1));

    private int Number(string key, int index) => int.Parse(_facts[key][index], CultureInfo.InvariantCulture);

    private static string Source(ProtocolSpec spec, AbiLayout abi)
    {
        var c = new StringBuilder(
            "#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n#include <string.h>\n"
        );
        foreach (string header in Headers(spec))
            c.Append(CultureInfo.InvariantCulture, $"#include <{header}>\n");
        c.Append("#define IS_SIGNED(type) ((type)-1 < (type)1)\nint main(void)\n{\n");
        foreach (TypeLayout type in abi.Types)
            Type(c, spec, type);
        foreach (TypedefSpec typedef in spec.Typedefs)
            Print(c, "typedef", typedef.Name, "%zu|%d", $"sizeof({typedef.Name}), IS_SIGNED({typedef.Name})");
        foreach (ConstantSpec constant in spec.Constants)
        {
            if (constant.Text is null)
                Print(
                    c,
                    "constant",
                    constant.Name,
                    "%d|%llu",
                    $"({constant.Name}) < 0, (unsigned long long)({constant.Name})"
                );
            else
                Print(c, "string", constant.Name, "%s", constant.Name);
        }
        foreach (RingSpec ring in spec.Rings)
            Ring(c, ring);
        return c.Append("    return 0;\n}\n").ToString();
    }

    private static void Type(StringBuilder c, ProtocolSpec spec, TypeLayout type)
    {
        string name = type.CType;
        // In C a shared ring's struct ends with its first entry; the spec's ends where that begins.
        bool isRingHeader = spec.Rings.Any(r => r.Header == type.CName);
        Print(c, "type", type.CName, "%zu", isRingHeader ? $"offsetof({name}, ring)" : $"sizeof({name})");
        foreach (FieldLayout field in type.Fields)
        {
            string member = $"(({name} *)0)->{field.CPath}";
            string element = field.IsArray ? member + "[0]" : member;
            // C leaves it to each machine whether a char has a sign; a spec's char is a byte.
            string isSigned =
                field.Composite is null && field.CType != TypeTable.Char ? $"IS_SIGNED(__typeof__({element}))" : "0";
            Print(
                c,
                "member",
                $"{type.CName}.{field.CName}",
                "%zu|%zu|%zu|%d",
                $"offsetof({name}, {field.CPath}), sizeof({member}), sizeof({element}), {isSigned}"
            );
        }
        if (type.Tail is { } tail)
            Print(
                c,
                "tail",
                $"{type.CName}.{tail.CName}",
                "%zu|%zu",
                $"offsetof({name}, {tail.CName}), sizeof((({name} *)0)->{tail.CName}[0])"
            );
    }

    private static void Ring(StringBuilder c, RingSpec ring)
    {
        Print(c, "entry", ring.Name, "%zu", $"sizeof(union {ring.Name}_sring_entry)");
        foreach (int pages in RingPages)
        {
            // __RING_SIZE subtracts addresses only, so no memory need lie there.
            string size = $"{pages} * 4096L";
            string sring = $"((struct {ring.Name}_sring *)0x10000)";
            Print(
                c,
                "ring",
                $"{ring.Name}/{pages}",
                "%d|%d",
                $"(int)__CONST_RING_SIZE({ring.Name}, {size}), (int)__RING_SIZE({sring}, {size})"
            );
        }
    }

    private static void Print(StringBuilder c, string kind, string name, string format, string values) =>
        c.Append(CultureInfo.InvariantCulture, $"    printf(\"{kind}|{name}|{format}\\n\", {values});\n");

    public static IEnumerable<string> Headers(ProtocolSpec spec) =>
        new[] { spec.Header }
            .Concat(spec.Constants.Select(c => c.Header))
            .Concat(spec.Typedefs.Select(t => t.Header))
            .Concat(spec.Composites.Select(c => c.Header))
            .Distinct();
}
