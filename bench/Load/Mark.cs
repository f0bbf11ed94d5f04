using System.Diagnostics;

namespace Blkring.Load;

/// <summary>A program that Blkring is measured against.</summary>
internal static class Mark
{
    /// <summary>Runs a program to its end and gives its standard output.</summary>
    /// <exception cref="MarkException">It is missing or failed; the message says what to do.</exception>
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
            throw new MarkException($"{program} cannot be started: {howToGet}");
        }
        using (process)
        {
            Task<string> errors = process.StandardError.ReadToEndAsync();
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0
                ? output
                : throw new MarkException(
                    $"{program} ended with {process.ExitCode}: {errors.Result.Trim().ReplaceLineEndings("; ")}"
                );
        }
    }
}

internal sealed class MarkException(string message) : Exception(message);
