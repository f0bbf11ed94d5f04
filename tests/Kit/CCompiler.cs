namespace Blkring.Tests.Kit;

/// <summary>Compiles C with gcc: the other opinion on every layout and number.</summary>
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
    /// <param name="options">More options, which gcc wants behind the source: libraries to link.</param>
    public static void BuildLibrary(string library, string source, params string[] options) =>
        Compile([.. s_warnings, "-O1", "-shared", "-fPIC", "-o", library, Repository.PathOf(source), .. options]);

    /// <summary>Runs gcc, which has to succeed.</summary>
    public static void Compile(IEnumerable<string> arguments)
    {
        ProgramResult result = Programs.Run("gcc", arguments);
        if (result.ExitCode != 0)
            throw new InvalidOperationException(
                "gcc failed (the tests need the Debian packages gcc, libc6-dev, linux-libc-dev and libxen-dev):\n"
                    + result.Errors
            );
    }
}
