namespace Blkring.Tests.Kit;

/// <summary>Compiles C with gcc: the independent source of every layout and number.</summary>
public static class CCompiler
{
    private static readonly string[] s_warnings = ["-std=gnu11", "-Wall", "-Wextra", "-Werror"];

    /// <summary>Builds a program and returns its path, which is in the directory given.</summary>
    /// <param name="libraries">The file names of the libraries to link: libc.so.6.</param>
    public static string Build(TempDirectory directory, string source, params string[] libraries)
    {
        string file = directory.Write("probe.c", source),
            program = directory.PathOf("probe");
        Compile(["-std=gnu11", "-Wall", "-Werror", "-o", program, file, .. libraries.Select(name => "-l:" + name)]);
        return program;
    }

    /// <summary>Builds a shared library from a file of the repository.</summary>
    /// <param name="options">Options that gcc needs after the source: libraries to link.</param>
    public static void BuildLibrary(string library, string source, params string[] options) =>
        Compile([.. s_warnings, "-O1", "-shared", "-fPIC", "-o", library, Repository.PathOf(source), .. options]);

    /// <summary>Builds a program and runs it; returns the lines that it prints.</summary>
    public static string[] RunProgram(string source, IEnumerable<string> options, string input = "")
    {
        using TempDirectory directory = new();
        string file = directory.Write("probe.c", source),
            program = directory.PathOf("probe");
        Compile([.. options, "-o", program, file]);
        return Lines(Programs.Output(program, [], input));
    }

    /// <summary>Runs gcc, which has to succeed; returns the lines that it prints.</summary>
    /// <param name="input">What gcc reads where a file is named <c>-</c>.</param>
    public static string[] Compile(IEnumerable<string> arguments, string input = "")
    {
        ProgramResult result = Programs.Run("gcc", arguments, input);
        return result.ExitCode == 0
            ? Lines(result.Output)
            : throw new InvalidOperationException(
                "gcc failed (the tests need the Debian packages gcc, gcc-multilib, libc6-dev, linux-libc-dev and "
                    + $"libxen-dev):\n{result.Errors}"
            );
    }

    private static string[] Lines(string text) => text.Split('\n', StringSplitOptions.RemoveEmptyEntries);
}
