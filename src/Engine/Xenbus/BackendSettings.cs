using Blkring.Engine.Hypervisor;
using Blkring.Engine.Settings;

namespace Blkring.Engine.Xenbus;

/// <summary>The settings of a backend: which devices it serves.</summary>
public static class BackendSettings
{
    private const int MaxDirectoryLength = 32;

    public static readonly Setting<string> Backend = Setting.Text(
        "Backend",
        "NAME",
        "vbd3",
        IsDirectory,
        "a name of letters, digits, '-' and '_', as below backend/ in xenstore",
        "The backend directory of xenstore to serve: vbd3 (xl's backendtype=tap), qdisk, vbd or any other name."
    );

    public static readonly Setting<int?> Frontend = Setting.OptionalNumber(
        "Frontend",
        min: 0,
        DomainId.FirstReserved - 1,
        withoutValue: "all domains",
        "Serve this domain only, so that several backends can share a directory.",
        form: "DOMID"
    );

    public static readonly Setting<int?> MaxMappedGrants = Setting.OptionalNumber(
        "MaxMappedGrants",
        min: 0,
        max: 1 << 24,
        withoutValue: "half of Xen's default: 262144, or 131072 in a PV domain",
        "The number of guests' pages that may be mapped at a time, for all devices; one guest has at most half. What a "
            + "queue does not get, it copies."
    );

    internal static bool IsDirectory(string name) =>
        name.Length is > 0 and <= MaxDirectoryLength && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_');
}
