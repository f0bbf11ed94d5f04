using System.ComponentModel;
using System.Diagnostics;
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

    private const string Needs =
        "The layouts are proved against Xen's own headers, which needs the Debian packages gcc, "
        + "gcc-multilib and libxen-dev.";

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
        Start("gcc", $"{machine} -std=gnu11 -w -D__XEN_TOOLS__ -idirafter {HostHeaders} -fsyntax-only -xc -", source);

    /// <summary>Compiles and runs a program; returns the lines it prints.</summary>
    public static string[] Run(string source, string machine, string input = "")
    {
        string directory = Directory.CreateTempSubdirectory("blkring-probe-").FullName;
        try
        {
            string file = Path.Combine(directory, "probe.c");
            string program = Path.Combine(directory, "probe");
            File.WriteAllText(file, source);
            // __XEN_TOOLS__: the latest interface, where the structs have their documented names.
            Start("gcc", $"{machine} -std=gnu11 -D__XEN_TOOLS__ -o {program} {file}", "");
            return Lines(Start(program, "", input));
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    /// <summary>The lines of a preprocessed source, #defines kept.</summary>
    public static string[] Preprocess(string source) =>
        Lines(Start("gcc", "-m64 -std=gnu11 -D__XEN_TOOLS__ -E -dD -", source));

    private static string[] Lines(string text) => text.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    private static string Start(string program, string arguments, string input)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        try
        {
            using Process process = Emulation.Start(start);
            Task<string> output = process.StandardOutput.ReadToEndAsync();
            Task<string> errors = process.StandardError.ReadToEndAsync();
            process.StandardInput.Write(input);
            process.StandardInput.Close();
            process.WaitForExit();
            Assert.True(process.ExitCode == 0, $"{program} {arguments} failed. {Needs}\n{errors.Result}");
            return output.Result;
        }
        catch (Win32Exception error)
        {
            throw new InvalidOperationException($"{program} cannot be started. {Needs}", error);
        }
    }
}
