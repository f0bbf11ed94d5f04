using System.Runtime.InteropServices;

namespace Blkring.Interop;

public static unsafe partial class Libc
{
    [LibraryImport(Library, SetLastError = true)]
    private static partial int execv(byte* pathname, byte** argv);

    /// <summary>execv(3): replaces the program of this process. Returns only -errno.</summary>
    /// <param name="arguments">The arguments, beginning with the name of the program.</param>
    public static int Execute(string path, params ReadOnlySpan<string> arguments)
    {
        byte** argv = (byte**)NativeMemory.AllocZeroed((nuint)arguments.Length + 1, (nuint)sizeof(byte*));
        for (int i = 0; i < arguments.Length; i++)
            argv[i] = (byte*)Marshal.StringToCoTaskMemUTF8(arguments[i]);
        int result;
        // Safe: pathname is pinned for the call, and argv ends with null.
        fixed (byte* pathname = PathBytes(path))
            result = Result(execv(pathname, argv));
        for (int i = 0; i < arguments.Length; i++)
            Marshal.FreeCoTaskMem((nint)argv[i]);
        NativeMemory.Free(argv);
        return result;
    }
}
