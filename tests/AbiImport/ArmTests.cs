using Blkring.AbiTools;
using Blkring.AbiTools.Import;
using Blkring.Generators.Model;
using Blkring.Layouts.Tests;

namespace Blkring.AbiImport.Tests;

/// <summary>
/// Layouts for machines that are not the host, by assertions that libclang checks as it compiles for them.
/// </summary>
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

        Assert.Empty(Errors(CAssertions.Of(spec, CAssertions.AbiOf(Specs.Layout(protocol), triple)), triple));
    }

    [Fact]
    public void A_wrong_layout_is_seen()
    {
        string source = CAssertions.Of(Specs.Find("netif"), Specs.Layout("netif", "native"), grow: 1);

        IReadOnlyList<ClangError> errors = Errors(source, Target.Arm64.Triple);

        Assert.Equal(
            source.Split('\n').Count(line => line.StartsWith("_Static_assert", StringComparison.Ordinal)),
            errors.Count
        );
    }

    internal static IReadOnlyList<ClangError> Errors(string source, string triple)
    {
        using var system = new SystemHeaders();
        string file = Path.Combine(system.Folder, "assertions.c");
        File.WriteAllText(file, source);
        using TranslationUnit unit = TranslationUnit.Parse(
            file,
            [
                "-target",
                triple,
                "-xc",
                "-std=gnu11",
                "-nostdinc",
                "-D__XEN_TOOLS__",
                "-w",
                "-ferror-limit=0",
                "-isystem",
                system.Folder,
                "-isystem",
                "/usr/include",
            ]
        );
        return unit.Errors();
    }
}
