using System.Diagnostics;

namespace Blkring.Load;

/// <summary>A program against which Blkring is measured.</summary>
internal static class Baseline
{
    /// <summary>Runs a program to its end.</summary>
    /// <param name="howToGet">What to do if the program is missing.</param>
    /// <returns>Its standard output.</returns>
    /// <exception cref="BaselineException">It is missing or failed; the message says what to do.</exception>
    public static string Run(string program, string howToGet, params IEnumerable<string> arguments)
    {
        ProcessStartInfo start = new(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            throw new BaselineException($"{program} cannot be started: {howToGet}");
        }
        using (process)
        {
            Task<string> errors = process.StandardError.ReadToEndAsync();
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0
                ? output
                : throw new BaselineException(
                    $"{program} ended with {process.ExitCode}: {errors.Result.Trim().ReplaceLineEndings("; ")}"
                );
        }
    }
}

internal sealed class BaselineException(string message) : Exception(message);
