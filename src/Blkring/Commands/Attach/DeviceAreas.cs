using System.Globalization;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Xenbus;
using Blkring.Interop;
using Blkring.Settings;

namespace Blkring.Commands.Attach;

/// <summary>The disk to attach.</summary>
internal sealed record DiskRequest
{
    public required DeviceName Device { get; init; }

    /// <summary>The directory below <c>backend/</c>.</summary>
    public required string Backend { get; init; }
    public required DomainId BackendDomain { get; init; }
    public string Image { get; init; } = "";
    public bool ReadOnly { get; init; }
    public bool Cdrom { get; init; }
}

/// <summary>
/// A device's two areas in xenstore, created and removed as by xl of Xen 4.19, for toolstacks that cannot name this
/// backend.
/// </summary>
internal sealed class DeviceAreas(XenstoreConnection store, DiskRequest request)
{
    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(50);

    private DomainId Frontend => request.Device.Frontend;
    private string Number => request.Device.Number.ToString(CultureInfo.InvariantCulture);
    private string DomainArea => $"/local/domain/{Frontend}";
    private string FrontendArea => $"{DomainArea}/device/vbd/{Number}";
    private string BackendArea =>
        $"/local/domain/{request.BackendDomain}/backend/{request.Backend}/{Frontend}/{Number}";

    public bool DomainExists => store.Directory(DomainArea) is not null;

    public bool Exist => store.Directory(BackendArea) is not null;

    public XenbusState BackendState => XenbusStates.Parse(store.Read($"{BackendArea}/{XenstoreKeys.State}"));

    /// <summary>The error that the daemon reported, where backends report it.</summary>
    public string? Error =>
        store.Read($"/local/domain/{request.BackendDomain}/error/backend/{request.Backend}/{Frontend}/{Number}/error");

    /// <summary>Creates both areas in one transaction, so that neither end sees half of them.</summary>
    public void Create() =>
        store.Transact(transaction =>
        {
            Make(BackendArea, request.BackendDomain, Frontend, BackendKeys(), transaction);
            Make(FrontendArea, Frontend, request.BackendDomain, FrontendKeys(), transaction);
            return true;
        });

    /// <summary>Asks the daemon to release the device; it then writes state 6.</summary>
    public void AskToClose() =>
        store.Transact(transaction =>
        {
            store.Write($"{BackendArea}/{XenstoreKeys.Online}", "0", transaction);
            store.Write($"{BackendArea}/{XenstoreKeys.State}", XenbusStates.Format(XenbusState.Closing), transaction);
            return true;
        });

    public void Remove() =>
        store.Transact(transaction =>
        {
            store.Remove(FrontendArea, transaction);
            store.Remove(BackendArea, transaction);
            // Remove the folder of a guest without devices.
            string guest = BackendArea[..BackendArea.LastIndexOf('/')];
            if (store.Directory(guest, transaction) is [])
                store.Remove(guest, transaction);
            return true;
        });

    /// <returns>False when the state did not match within the timeout.</returns>
    public bool WaitFor(Func<XenbusState, bool> wanted, TimeSpan timeout)
    {
        for (
            long end = Environment.TickCount64 + (long)timeout.TotalMilliseconds;
            !wanted(BackendState);
            Thread.Sleep(s_poll)
        )
            if (Environment.TickCount64 >= end)
                return false;
        return true;
    }

    private void Make(
        string area,
        DomainId owner,
        DomainId reader,
        IEnumerable<(string Key, string Value)> keys,
        uint transaction
    )
    {
        store.Remove(area, transaction);
        store.Write(area, "", transaction);
        // Keys inherit the permissions of their folder when they are created.
        store.SetPermissions(
            area,
            [
                new xs_permissions { id = owner.Value, perms = xs_permissions.XS_PERM_NONE },
                new xs_permissions { id = reader.Value, perms = xs_permissions.XS_PERM_READ },
            ],
            transaction
        );
        foreach ((string key, string value) in keys)
            store.Write($"{area}/{key}", value, transaction);
    }

    private IEnumerable<(string, string)> BackendKeys() =>
        [
            (XenstoreKeys.Frontend, FrontendArea),
            (XenstoreKeys.FrontendId, Frontend.ToString()),
            (XenstoreKeys.Params, "aio:" + request.Image),
            (XenstoreKeys.Online, "1"),
            (XenstoreKeys.Removable, request.Cdrom ? "1" : "0"),
            ("bootable", "1"),
            ("dev", DeviceName.NameOf(request.Device.Number)),
            (XenstoreKeys.Type, request.Backend),
            (XenstoreKeys.Mode, request.ReadOnly || request.Cdrom ? "r" : "w"),
            (XenstoreKeys.DeviceType, DeviceType),
            (XenstoreKeys.DiscardEnable, request.ReadOnly || request.Cdrom ? "0" : "1"),
            ("specification", "xen"),
            (XenstoreKeys.State, XenbusStates.Format(XenbusState.Initialising)),
        ];

    private IEnumerable<(string, string)> FrontendKeys() =>
        [
            (XenstoreKeys.Backend, BackendArea),
            ("backend-id", request.BackendDomain.ToString()),
            ("virtual-device", Number),
            (XenstoreKeys.DeviceType, DeviceType),
            (XenstoreKeys.State, XenbusStates.Format(XenbusState.Initialising)),
        ];

    private string DeviceType => request.Cdrom ? "cdrom" : "disk";
}
