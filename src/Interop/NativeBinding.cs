using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Runtime.InteropServices;

namespace Blkring.Interop;

/// <summary>
/// Binds native functions ahead of their first call. The runtime looks each one up when it is first called and
/// allocates the library's name for that: 32 bytes on a thread that is to allocate nothing, at the first request of its
/// kind.
/// </summary>
public static class NativeBinding
{
    /// <summary>Binds the C library's functions. Cheap when done before.</summary>
    public static void BindLibc() => LibcBinding.Ensure();

    /// <summary>
    /// Binds those of libxenevtchn and libxengnttab, which must be loaded: see <see cref="XenLibraries.TryLoad"/>.
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
                // A library older than the declaration: whoever needs the function finds out when calling it.
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
