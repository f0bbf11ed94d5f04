using Blkring.Engine.Errors;
using Blkring.Engine.Hypervisor;
using Blkring.Interop;

namespace Blkring.Engine.Xen;

/// <summary>
/// Access to guests under Xen by libxengnttab and libxenevtchn. Each ring has its own handles.
/// </summary>
public sealed unsafe class XenHypervisor : IHypervisor
{
    private const string GuestTypePath = "/sys/hypervisor/guest_type";

    private XenHypervisor(bool losesPinnedPages) => LosesPinnedPages = losesPinnedPages;

    /// <summary>Loads the libraries and tries both devices.</summary>
    /// <param name="readFile">Returns the text of a file of the kernel; null if there is no such file.</param>
    /// <exception cref="XenUnavailableException">One line that says what is missing and what to do.</exception>
    public static XenHypervisor Open(Func<string, string?>? readFile = null)
    {
        Load(XenLibraries.EvtchnLibrary);
        Load(XenLibraries.GnttabLibrary);
        NativeBinding.BindXen();
        TryEvents();
        TryGrants();
        return new XenHypervisor((readFile ?? ReadFile)(GuestTypePath)?.Trim() == "PV");
    }

    public RingAccess OpenRing(DomainId frontend) => new XenRingAccess(frontend);

    /// <summary>
    /// The type of this domain, as its kernel reports it. Other implementations of the libraries have no such file.
    /// </summary>
    public bool LosesPinnedPages { get; }

    /// <remarks>
    /// A PV domain takes two entries per page: gntdev maps each for the kernel and for the process. How many entries
    /// there are, only the toolstack can ask the hypervisor.
    /// </remarks>
    public int MappableGrants => IHypervisor.DefaultMappableGrants / (LosesPinnedPages ? 2 : 1);

    public string Describe() => $"Xen, by {XenLibraries.GnttabLibrary} and {XenLibraries.EvtchnLibrary}";

    private static string? ReadFile(string path) => File.Exists(path) ? File.ReadAllText(path) : null;

    private static void Load(string library)
    {
        if (!XenLibraries.TryLoad(library, out string? advice))
            throw new XenUnavailableException(ErrorCode.XenLibraryMissing, advice);
    }

    private static void TryEvents()
    {
        int result = LibXenEvtchn.Open(out LibXenEvtchn.xenevtchn_handle* handle);
        if (result < 0)
            throw new XenUnavailableException(
                ErrorCode.XenDeviceRefused,
                XenLibraries.ExplainRefusal(XenLibraries.EvtchnDevice, result)
            );
        _ = LibXenEvtchn.Close(handle);
    }

    private static void TryGrants()
    {
        int result = LibXenGnttab.Open(out LibXenGnttab.xengnttab_handle* handle);
        if (result < 0)
            throw new XenUnavailableException(
                ErrorCode.XenDeviceRefused,
                XenLibraries.ExplainRefusal(XenLibraries.GnttabDevice, result)
            );
        // An empty batch succeeds in a kernel that has the call.
        result = LibXenGnttab.GrantCopy(handle, null, 0);
        _ = LibXenGnttab.Close(handle);
        if (result < 0)
            throw new XenUnavailableException(
                ErrorCode.GrantCopyUnsupported,
                $"{XenLibraries.GnttabDevice}: grant copy: {Errno.Describe(result)}: Linux 4.8 or later is needed"
            );
    }
}
