namespace Blkring.Integration.Tests;

/// <summary>What is installed on a host: native executables, small and in separate files.</summary>
public sealed class NativeTests : IDisposable
{
    private const long MaxBytes = 10_000_000;

    private readonly TempDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_executable_of_a_host_is_small_and_holds_no_compiler()
    {
        Assert.SkipWhen(Executables.Native is null, "no native executable: run './test Integration'");
        byte[] content = File.ReadAllBytes(Executables.Native!);

        Assert.InRange(content.Length, 1, MaxBytes);
        Assert.Equal(-1, content.AsSpan().IndexOf("Microsoft.CodeAnalysis"u8));
        Assert.Equal(-1, content.AsSpan().IndexOf("Microsoft.CodeAnalysis".SelectMany(Bytes).ToArray()));
        Assert.True(File.Exists(Executables.Native + ".dbg"), "its symbols are not beside it");
        Assert.False(File.Exists(Executables.Native + ".dll"), "it is not native");

        static byte[] Bytes(char c) => [(byte)c, 0];
    }

    [Fact]
    public void Without_the_executable_of_the_ABI_tools_one_line_names_it()
    {
        Assert.SkipWhen(Executables.Native is null, "no native executable: run './test Integration'");
        string blkring = _folder.PathOf("blkring");
        File.Copy(Executables.Native!, blkring);

        ProgramResult result = Programs.Run(blkring, ["abi", "show"]);

        Assert.Equal((2, ""), (result.ExitCode, result.Output));
        Assert.Equal(
            $"blkring: {blkring}-abi cannot be run: ENOENT (No such file or directory); install it beside blkring\n",
            result.Errors
        );
    }
}
