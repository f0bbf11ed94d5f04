using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;

namespace Blkring.Interop;

/// <summary>Whether Xen's libraries and devices are available, and what to do if they are not.</summary>
public static class XenLibraries
{
    /// <summary>The names with the version of the ABI, as the run-time packages install them.</summary>
    public const string EvtchnLibrary = "libxenevtchn.so.1";
    public const string GnttabLibrary = "libxengnttab.so.1";
    public const string StoreLibrary = "libxenstore.so.4";

    /// <summary>The device behind libxenevtchn on Linux.</summary>
    public const string EvtchnDevice = "/dev/xen/evtchn";

    /// <summary>The device behind libxengnttab on Linux.</summary>
    public const string GnttabDevice = "/dev/xen/gntdev";

    /// <summary>The device with which libxenstore reaches a xenstored that has no socket here.</summary>
    public const string StoreDevice = "/dev/xen/xenbus";

    /// <summary>Loads a library, which then stays loaded.</summary>
    /// <param name="library">One of the names above, or another with the version of its ABI.</param>
    /// <param name="advice">What to do if it cannot be loaded, in one line.</param>
    public static bool TryLoad(string library, [NotNullWhen(false)] out string? advice)
    {
        if (NativeLibrary.TryLoad(library, typeof(XenLibraries).Assembly, null, out _))
        {
            advice = null;
            return true;
        }
        advice = $"{library} is missing: install the package {PackageOf(library)} (as Debian and Ubuntu name it)";
        return false;
    }

    /// <summary>Why a device could not be opened, and what to do, in one line.</summary>
    /// <param name="errno">The error of open(2), of either sign.</param>
    public static string ExplainRefusal(string device, int errno) =>
        $"{device}: {Errno.Describe(errno)}: "
        + Math.Abs(errno) switch
        {
            Errno.ENOENT or Errno.ENODEV or Errno.ENXIO =>
                "no Xen here; boot this machine under Xen, as dom0 or as a driver domain, "
                    + "with the modules xen-evtchn and xen-gntdev",
            Errno.EACCES or Errno.EPERM => "run as root, or as a user who may open it",
            Errno.EMFILE or Errno.ENFILE => "too many open files; raise LimitNOFILE= or fs.file-max",
            _ => "Xen's kernel driver refuses",
        };

    // Debian names a library's run-time package after the library and the version of its ABI.
    static string PackageOf(string library) => library.Replace(".so.", "", StringComparison.Ordinal);
}
