using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Runtime.InteropServices;

namespace Blkring.Interop;

/// <summary>
/// Binds native functions before their first call. The runtime looks each function up when it is first called, and
/// allocates the library's name for that: 32 bytes, on a thread that must not allocate.
/// </summary>
public static class NativeBinding
{
    /// <summary>Binds the C library's functions. Cheap if they are bound already.</summary>
    public static void BindLibc() => LibcBinding.Ensure();

    /// <summary>
    /// Binds the functions of libxenevtchn and libxengnttab. Both must be loaded: see
    /// <see cref="XenLibraries.TryLoad"/>.
    /// </summary>
    public static void BindXen()
    {
        Bind(typeof(LibXenEvtchn));
        Bind(typeof(LibXenGnttab));
    }

    static void Bind([DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.NonPublicMethods)] Type declarations)
    {
        foreach (
            var method in declarations.GetMethods(
                BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.DeclaredOnly
            )
        )
        {
            if ((method.Attributes & MethodAttributes.PinvokeImpl) == 0)
                continue;
            try
            {
                Marshal.Prelink(method);
            }
            catch (EntryPointNotFoundException)
            {
                // The library is older than the declaration: a call of the function will throw.
            }
        }
    }

    // A static constructor runs once, and other threads wait for it.
    static class LibcBinding
    {
        static LibcBinding() => Bind(typeof(Libc));

        public static void Ensure() { }
    }
}
