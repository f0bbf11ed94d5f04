using System.Globalization;
using System.Text;
using Blkring.AbiTools.Import;
using Blkring.Generators.Layout;
using Blkring.Generators.Model;
using Blkring.Layouts.Tests;

namespace Blkring.AbiTools.Tests;

/// <summary>Layouts for machines that are not the host, by assertions that libclang checks as it compiles for them.</summary>
public sealed class ArmTests
{
    public static TheoryData<string, string> ProtocolsAndMachines()
    {
        var data = new TheoryData<string, string>();
        foreach (ProtocolSpec spec in Specs.All)
        {
            data.Add(spec.Name, Target.Arm64.Triple);
            data.Add(spec.Name, Target.Arm32.Triple);
        }
        return data;
    }

    [Theory]
    [MemberData(nameof(ProtocolsAndMachines))]
    public void Layouts_are_those_of_Arm(string protocol, string triple)
    {
        ProtocolSpec spec = Specs.Find(protocol);
        bool hasOwn = triple == Target.Arm32.Triple && spec.Abis.Any(a => a.Name == "arm");

        Assert.Empty(Errors(Assertions(spec, Specs.Layout(protocol, hasOwn ? "arm" : "native"), grow: 0), triple));
    }

    [Fact]
    public void A_wrong_layout_is_seen()
    {
        string source = Assertions(Specs.Find("netif"), Specs.Layout("netif", "native"), grow: 1);

        IReadOnlyList<ClangError> errors = Errors(source, Target.Arm64.Triple);

        Assert.Equal(source.Split('\n').Count(line => line.StartsWith("_Static_assert", StringComparison.Ordinal)), errors.Count);
    }

    /// <summary>An assertion for each size and offset; <paramref name="grow"/> is added to each, to see them fail.</summary>
    private static string Assertions(ProtocolSpec spec, AbiLayout abi, int grow)
    {
        var c = new StringBuilder();
        c.Append(CultureInfo.InvariantCulture, $"#include <stdint.h>\n#include <{spec.Header}>\n");
        foreach (TypeLayout type in abi.Types)
        {
            // In C a shared ring's struct ends with its first entry; the spec's ends where that begins.
            bool isRingHeader = spec.Rings.Any(r => r.Header == type.CName);
            Assertion(isRingHeader ? $"__builtin_offsetof({type.CType}, ring)" : $"sizeof({type.CType})", type.Size);
            foreach (FieldLayout field in type.Fields)
            {
                Assertion($"__builtin_offsetof({type.CType}, {field.CPath})", field.Offset);
                Assertion($"sizeof((({type.CType} *)0)->{field.CPath})", field.Size);
            }
            if (type.Tail is { } tail)
                Assertion($"__builtin_offsetof({type.CType}, {tail.CName})", tail.Offset);
        }
        return c.ToString();

        void Assertion(string what, int value) => c.Append(CultureInfo.InvariantCulture, $"_Static_assert({what} == {value + grow}, \"{what}\");\n");
    }

    private static IReadOnlyList<ClangError> Errors(string source, string triple)
    {
        using var system = new SystemHeaders();
        string file = Path.Combine(system.Folder, "assertions.c");
        File.WriteAllText(file, source);
        using TranslationUnit unit = TranslationUnit.Parse(
            file, ["-target", triple, "-xc", "-std=gnu11", "-nostdinc", "-D__XEN_TOOLS__", "-w", "-ferror-limit=0", "-isystem", system.Folder, "-isystem", "/usr/include"]);
        return unit.Errors();
    }
}
