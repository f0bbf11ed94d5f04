using System.ComponentModel;
using System.Diagnostics;

namespace Blkring.Tests.Kit;

/// <summary>What a program did.</summary>
public sealed record ProgramResult(int ExitCode, string Output, string Errors);

/// <summary>
/// Runs programs to their end. 32-bit x86 programs also run where the kernel refuses them, by QEMU's user mode
/// emulation.
/// </summary>
public static class Programs
{
    private const string Emulator = "qemu-i386";
    private const int ENOEXEC = 8;

    /// <param name="environment">Variables that are added to those of this process.</param>
    public static ProgramResult Run(
        string program,
        IEnumerable<string> arguments,
        string input = "",
        IEnumerable<(string Name, string Value)>? environment = null
    )
    {
        ProcessStartInfo start = new(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach ((string name, string value) in environment ?? [])
            start.Environment[name] = value;
        using Process process = Start(start);
        // Both pipes are read at the same time: a program blocks when one of them is full.
        Task<string> output = process.StandardOutput.ReadToEndAsync(),
            errors = process.StandardError.ReadToEndAsync();
        process.StandardInput.Write(input);
        process.StandardInput.Close();
        if (!Task.WhenAll(output, errors).Wait(Wait.ProgramLimit) || !process.WaitForExit(Wait.ProgramLimit))
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"{program} did not end within {Wait.ProgramLimit.TotalSeconds} s");
        }
        return new ProgramResult(process.ExitCode, output.Result, errors.Result);
    }

    /// <summary>The standard output of a program that has to succeed.</summary>
    public static string Output(string program, IEnumerable<string> arguments, string input = "")
    {
        ProgramResult result = Run(program, arguments, input);
        return result.ExitCode == 0
            ? result.Output
            : throw new InvalidOperationException($"{program} failed with status {result.ExitCode}:\n{result.Errors}");
    }

    private static Process Start(ProcessStartInfo start)
    {
        try
        {
            return StartOrEmulate(start);
        }
        catch (Win32Exception error)
        {
            throw new InvalidOperationException(
                $"{start.FileName} cannot be started: {error.Message}; ./test installs what the tests need",
                error
            );
        }
    }

    private static Process StartOrEmulate(ProcessStartInfo start)
    {
        try
        {
            return Process.Start(start)!;
        }
        catch (Win32Exception error) when (error.NativeErrorCode == ENOEXEC)
        {
            start.ArgumentList.Insert(0, start.FileName);
            start.FileName = Emulator;
            return Process.Start(start)!;
        }
    }
}
