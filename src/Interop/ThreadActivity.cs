using System.Globalization;
using System.Runtime.InteropServices;

namespace Blkring.Interop;

/// <summary>What a thread of this process does now.</summary>
public enum ThreadActivity : byte
{
    /// <summary>It runs, or waits for a CPU.</summary>
    Running,

    /// <summary>It waits for a lock of this process: futex(2).</summary>
    InLock,

    /// <summary>It is in another system call, or the kernel does not tell.</summary>
    InKernel,
}

/// <summary>Reads from /proc what a thread does: proc_pid_stat(5) and proc_pid_syscall(5).</summary>
public static class ThreadStates
{
    /// <param name="thread">The kernel's id: <see cref="Libc.Gettid"/> on that thread.</param>
    public static ThreadActivity Read(int thread)
    {
        string folder = string.Create(CultureInfo.InvariantCulture, $"/proc/self/task/{thread}/");
        try
        {
            string stat = File.ReadAllText(folder + "stat");
            // The state follows the name, which is in brackets and may contain some.
            int end = stat.LastIndexOf(')');
            if (end >= 0 && end + 2 < stat.Length && stat[end + 2] == 'R')
                return ThreadActivity.Running;
            string call = File.ReadAllText(folder + "syscall").Split(' ')[0].Trim();
            return call == "running" ? ThreadActivity.Running
                : call == FutexNumber ? ThreadActivity.InLock
                : ThreadActivity.InKernel;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return ThreadActivity.InKernel;
        }
    }

    private static string FutexNumber => RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? "98" : "202";
}
