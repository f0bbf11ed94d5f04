using System.ComponentModel;
using System.Diagnostics;

namespace Blkring.Tests.Kit;

/// <summary>Runs 32-bit x86 programs also where the kernel refuses them, by QEMU's user mode emulation.</summary>
public static class Emulation
{
    private const string Emulator = "qemu-i386";
    private const int ENOEXEC = 8;

    /// <exception cref="Win32Exception">Neither the program nor the emulator can be started.</exception>
    public static Process Start(ProcessStartInfo start)
    {
        try
        {
            return Process.Start(start)!;
        }
        catch (Win32Exception error) when (error.NativeErrorCode == ENOEXEC)
        {
            start.Arguments = $"{start.FileName} {start.Arguments}".TrimEnd();
            start.FileName = Emulator;
            return Process.Start(start)!;
        }
    }
}
