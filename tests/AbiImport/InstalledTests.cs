using Blkring.AbiTools;
using Blkring.AbiTools.Import;
using Blkring.AbiTools.Layouts;
using Blkring.Generators.Emit;
using Blkring.Generators.Layout;
using Blkring.Layouts.Tests;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace Blkring.AbiImport.Tests;

/// <summary>
/// Every header of libxen-dev, ring protocol or not: imported twice with the same bytes, generated to C# that compiles,
/// and each struct the same to gcc for x86 and to libclang for Arm.
/// </summary>
public sealed class InstalledTests
{
    // Headers that define nothing by themselves, and what the import says of them.
    private static readonly Dictionary<string, string> Refused = new()
    {
        ["arch-arm/hvm/save.h"] = "defines no struct",
        ["arch-arm/smccc.h"] = "'public/xen.h' file not found",
        ["arch-x86/hvm/save.h"] = "expected identifier",
        ["arch-x86_32.h"] = "defines no struct",
        ["arch-x86_64.h"] = "defines no struct",
        ["dom0_ops.h"] = "compatibility interface only",
        ["hvm/pvdrivers.h"] = "only macros with parameters",
        ["privcmd.h"] = "'xen/interface/xen.h' file not found",
    };

    // These leave it to their user to include what they need.
    private const string Needed = "#include <xen/xen.h>\n#include <xen/grant_table.h>\n";
    private static readonly string[] Needy =
    [
        "evtchn.h",
        "gntdev.h",
        "gntalloc.h",
        "sys/",
        "arch-x86/pmu.h",
        "arch-x86/xen-mca.h",
    ];

    private static readonly Target[] Arms = [Target.Arm64, Target.Arm32];

    public static TheoryData<string> Paths() =>
        [
            .. Directory
                .GetFiles(Headers.Installed, "*.h", SearchOption.AllDirectories)
                .Select(file => Path.GetRelativePath(Headers.Installed, file))
                .Order(StringComparer.Ordinal),
        ];

    [Theory]
    [MemberData(nameof(Paths))]
    public void A_header_has_the_layouts_of_each_compiler(string path)
    {
        string header = Path.Combine(Headers.Installed, path);
        if (Refused.TryGetValue(path, out string? words))
        {
            Assert.Contains(
                words,
                Assert.Throws<HeaderImportException>(() => Headers.Import(header)).Message,
                StringComparison.Ordinal
            );
            return;
        }

        string text = Headers.Import(header);
        AbiSource source = AbiSource.Parse(path, text);

        Assert.Equal(text, Headers.Import(header));
        Assert.Empty(CompilerErrors(source.Layout));
        CProbe.Check(Assertions(Target.X86_64), "-m64");
        CProbe.Check(Assertions(Target.X86_32), "-m32");
        foreach (Target arm in Arms.Where(_ => !path.StartsWith("arch-x86", StringComparison.Ordinal)))
            Assert.Empty(ArmTests.Errors(Assertions(arm), arm.Triple));

        string Assertions(Target target) =>
            CAssertions.Of(
                source.Spec,
                CAssertions.AbiOf(source.Layout, target.Triple),
                before: Needy.Any(path.StartsWith) ? Needed : ""
            );
    }

    /// <summary>What the C# compiler says of the code that the generator makes of a spec, warnings too.</summary>
    private static IEnumerable<Diagnostic> CompilerErrors(ProtocolLayout layout) =>
        CSharpCompilation
            .Create(
                "Generated",
                ProtocolEmitter.Emit(layout).Select(file => CSharpSyntaxTree.ParseText(file.Text)),
                ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!)
                    .Split(Path.PathSeparator)
                    .Select(path => MetadataReference.CreateFromFile(path)),
                new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, allowUnsafe: true)
            )
            .GetDiagnostics(TestContext.Current.CancellationToken)
            .Where(d => d.Severity >= DiagnosticSeverity.Warning);
}
