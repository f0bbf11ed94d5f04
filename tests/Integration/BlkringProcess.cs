using System.ComponentModel;
using System.Diagnostics;
using System.Text;
using Blkring.Interop;

namespace Blkring.Integration.Tests;

/// <summary>
/// The built executable, run as a user runs it, without a terminal. Killed at the end of the test if it still runs.
/// </summary>
internal sealed class BlkringProcess : IDisposable
{
    private const int PatienceMs = 60_000;
    public const int SigInt = 2,
        SigKill = 9,
        SigTerm = 15;

    private readonly Process _process;
    private readonly StringBuilder _output = new(),
        _errors = new();

    private BlkringProcess(Process process) => _process = process;

    public int Id => _process.Id;
    public bool HasExited => _process.HasExited;
    public int ExitCode => _process.ExitCode;
    public string Output => _output.ToString();
    public string Errors => _errors.ToString();
    public string[] ErrorLines => Errors.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>The process's folder for temporary files, which belongs to the test.</summary>
    public static BlkringProcess Start(string temporary, params string[] arguments) =>
        StartProgram(temporary, Executables.Blkring, arguments);

    /// <summary>As <see cref="Run"/>, but without the privilege of reading every file, which root has.</summary>
    public static BlkringProcess RunWithoutPrivilege(string temporary, params string[] arguments)
    {
        if (!Environment.IsPrivilegedProcess)
            return Run(temporary, arguments);
        BlkringProcess blkring = StartProgram(
            temporary,
            "setpriv",
            ["--bounding-set=-dac_override,-dac_read_search", "--", Executables.Blkring, .. arguments]
        );
        blkring.WaitForExit();
        return blkring;
    }

    public static BlkringProcess RunWith(
        (string Name, string Value)[] environment,
        string temporary,
        params string[] arguments
    )
    {
        BlkringProcess blkring = StartWith(environment, temporary, arguments);
        blkring.WaitForExit();
        return blkring;
    }

    public static BlkringProcess StartWith(
        (string Name, string Value)[] environment,
        string temporary,
        params string[] arguments
    ) => StartProgram(temporary, Executables.Blkring, arguments, environment);

    /// <summary>With another user or group; only root can start it so.</summary>
    /// <param name="user">Options of setpriv(1).</param>
    public static BlkringProcess StartAs(
        string[] user,
        (string Name, string Value)[] environment,
        string temporary,
        params string[] arguments
    ) => StartProgram(temporary, "setpriv", [.. user, "--", Executables.Blkring, .. arguments], environment);

    private static BlkringProcess StartProgram(
        string temporary,
        string program,
        string[] arguments,
        params (string Name, string Value)[] environment
    )
    {
        ProcessStartInfo start = new(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["TMPDIR"] = temporary;
        // The tests' own variables, such as BLKRING_SEEDS, are no settings of a daemon.
        foreach (
            string name in start
                .Environment.Keys.Where(name => name.StartsWith("BLKRING_", StringComparison.Ordinal))
                .ToList()
        )
            start.Environment.Remove(name);
        // If anything makes it write escape sequences without a terminal, this does.
        start.Environment["TERM"] = "xterm-256color";
        foreach ((string name, string value) in environment)
            start.Environment[name] = value;
        BlkringProcess blkring = new(Process.Start(start)!);
        blkring._process.OutputDataReceived += (_, line) => Append(blkring._output, line.Data);
        blkring._process.ErrorDataReceived += (_, line) => Append(blkring._errors, line.Data);
        blkring._process.BeginOutputReadLine();
        blkring._process.BeginErrorReadLine();
        return blkring;
    }

    public static BlkringProcess Run(string temporary, params string[] arguments)
    {
        BlkringProcess blkring = Start(temporary, arguments);
        blkring.WaitForExit();
        return blkring;
    }

    public void WaitForExit()
    {
        if (!_process.WaitForExit(PatienceMs))
            throw new TimeoutException($"blkring did not end within {PatienceMs} ms: {Output}{Errors}");
        // Only the overload without a timeout also waits for the rest of the output.
        _process.WaitForExit();
    }

    /// <summary>Waits until a line of the output begins with the text.</summary>
    public void WaitForOutput(string beginning)
    {
        long end = Environment.TickCount64 + PatienceMs;
        while (!Output.Split('\n').Any(line => line.StartsWith(beginning, StringComparison.Ordinal)))
        {
            if (Environment.TickCount64 > end || _process.HasExited)
                throw new TimeoutException($"no line '{beginning}' in: {Output}{Errors}");
            Thread.Sleep(20);
        }
    }

    /// <summary>The process that this one started, once it is there.</summary>
    public int WaitForChild()
    {
        string children = $"/proc/{Id}/task";
        long end = Environment.TickCount64 + PatienceMs;
        while (Environment.TickCount64 < end)
        {
            foreach (string task in Directory.GetDirectories(children))
            {
                string[] ids = File.ReadAllText(Path.Combine(task, "children"))
                    .Split(' ', StringSplitOptions.RemoveEmptyEntries);
                if (ids.Length > 0)
                    return int.Parse(ids[0], System.Globalization.CultureInfo.InvariantCulture);
            }
            Thread.Sleep(20);
        }
        throw new TimeoutException("blkring started no process");
    }

    public void Signal(int signal) => Signal(Id, signal);

    public static void Signal(int process, int signal)
    {
        const int kill = 62; // __NR_kill of x86_64
        nint result = Libc.Syscall(kill, process, signal);
        if (result < 0)
            throw new Win32Exception((int)-result);
    }

    public void Dispose()
    {
        if (!_process.HasExited)
            _process.Kill();
        _process.Dispose();
    }

    private static void Append(StringBuilder text, string? line)
    {
        if (line is null)
            return;
        lock (text)
            text.Append(line).Append('\n');
    }
}

/// <summary>Checks of the folder that blkring had for its temporary files.</summary>
internal static class TempDirectoryExtensions
{
    /// <summary>
    /// Whether blkring left nothing there. The runtime's own files, which it leaves when it is killed, do not count.
    /// </summary>
    public static bool HoldsNothingOfBlkring(this TempDirectory directory) =>
        Directory.GetFileSystemEntries(directory.Path, "blkring*").Length == 0;
}
