using System.ComponentModel;
using System.Diagnostics;

namespace Blkring.Interop.Tests;

/// <summary>
/// Builds and runs a C program against the installed headers: the other opinion on every layout and number.
/// </summary>
static class CCompiler
{
    /// <summary>The program's path; the caller deletes it with its directory.</summary>
    /// <param name="libraries">Linked with it, by their file names: libc.so.6.</param>
    public static string Build(TempDirectory directory, string source, params string[] libraries)
    {
        var file = Path.Combine(directory.Path, "probe.c");
        var program = Path.Combine(directory.Path, "probe");
        File.WriteAllText(file, source);
        try
        {
            Run("gcc", ["-Wall", "-Werror", "-o", program, file, .. libraries.Select(library => "-l:" + library)]);
        }
        catch (Win32Exception)
        {
            Assert.Fail("gcc is needed for this test: install the package gcc, with libc6-dev and linux-libc-dev");
        }
        return program;
    }

    /// <summary>Standard output; fails the test with standard error when the exit status is not 0.</summary>
    public static string Run(string program, params string[] arguments)
    {
        using var process = Start(program, arguments);
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program}: exit {process.ExitCode}\n{errors.GetAwaiter().GetResult()}");
        return output;
    }

    public static Process Start(string program, params string[] arguments) =>
        Process.Start(
            new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true }
        )!;
}
