using Blkring.Tests.Kit;

namespace Blkring.Layouts.Tests;

/// <summary>
/// A C program that includes Xen's headers, compiled for a machine and run. Nothing here skips: without the headers
/// there is no proof.
/// </summary>
internal static class CProbe
{
    // Linux's headers for programs of the host, which gcc does not look for when it compiles for 32 bits.
    private const string HostHeaders = "/usr/include/x86_64-linux-gnu";

    // The latest interface, where the structs have their documented names.
    private static readonly string[] s_options = ["-std=gnu11", "-D__XEN_TOOLS__"];

    /// <summary>Machine option of gcc whose layouts the spec's ABI must have.</summary>
    public static string MachineOf(string abi) =>
        abi switch
        {
            "x86_32" => "-m32",
            "x86_64" or "native" => "-m64",
            _ => throw new InvalidOperationException(
                $"No machine is known for the ABI {abi} of a spec: say here how its probe is compiled."
            ),
        };

    /// <summary>
    /// The host's compiler and processor know x86 only; what Arm has of its own, tests/AbiImport proves with libclang.
    /// </summary>
    public static bool IsOfHost(string abi) => !abi.StartsWith("arm", StringComparison.Ordinal);

    /// <summary>Compiles a source, which says by assertions what it wants to know.</summary>
    public static void Check(string source, string machine) =>
        CCompiler.Compile(
            [machine, .. s_options, "-w", "-idirafter", HostHeaders, "-fsyntax-only", "-xc", "-"],
            source
        );

    /// <summary>Compiles and runs a program; returns the lines it prints.</summary>
    public static string[] Run(string source, string machine, string input = "") =>
        CCompiler.RunProgram(source, [machine, .. s_options], input);

    /// <summary>The lines of a preprocessed source, #defines kept.</summary>
    public static string[] Preprocess(string source) =>
        CCompiler.Compile(["-m64", .. s_options, "-E", "-dD", "-"], source);
}
