using System.Globalization;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Xenbus;
using Blkring.Interop;
using Blkring.Settings;

namespace Blkring.Commands.Attach;

/// <summary>What a toolstack is asked to attach.</summary>
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
/// A device's two areas in xenstore, made and removed as xl of Xen 4.19 makes and removes them: for toolstacks that
/// cannot name this backend.
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

    public XenbusState BackendState =>
        store.Read(BackendArea + "/state") is [>= '1' and <= '8'] text
            ? (XenbusState)(text[0] - '0')
            : XenbusState.Unknown;

    /// <summary>What the daemon said was wrong, where backends leave it.</summary>
    public string? Error =>
        store.Read($"/local/domain/{request.BackendDomain}/error/backend/{request.Backend}/{Frontend}/{Number}/error");

    /// <summary>Everything at once: neither end sees half of it.</summary>
    public void Create() =>
        store.Transact(transaction =>
        {
            Make(BackendArea, request.BackendDomain, Frontend, BackendKeys(), transaction);
            Make(FrontendArea, Frontend, request.BackendDomain, FrontendKeys(), transaction);
            return true;
        });

    /// <summary>Asks the daemon to let go: it writes state 6 when it has.</summary>
    public void AskToClose() =>
        store.Transact(transaction =>
        {
            store.Write(BackendArea + "/online", "0", transaction);
            store.Write(BackendArea + "/state", "5", transaction);
            return true;
        });

    public void Remove() =>
        store.Transact(transaction =>
        {
            store.Remove(FrontendArea, transaction);
            store.Remove(BackendArea, transaction);
            // The last device of a guest leaves no empty folder behind.
            string guest = BackendArea[..BackendArea.LastIndexOf('/')];
            if (store.Directory(guest, transaction) is [])
                store.Remove(guest, transaction);
            return true;
        });

    /// <returns>False when the state was not one of those within the time.</returns>
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
        // Keys inherit what their folder has when they are made.
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
            ("frontend", FrontendArea),
            ("frontend-id", Frontend.ToString()),
            ("params", "aio:" + request.Image),
            ("online", "1"),
            ("removable", request.Cdrom ? "1" : "0"),
            ("bootable", "1"),
            ("dev", DeviceName.NameOf(request.Device.Number)),
            ("type", request.Backend),
            ("mode", request.ReadOnly || request.Cdrom ? "r" : "w"),
            ("device-type", DeviceType),
            ("discard-enable", request.ReadOnly || request.Cdrom ? "0" : "1"),
            ("specification", "xen"),
            ("state", "1"),
        ];

    private IEnumerable<(string, string)> FrontendKeys() =>
        [
            ("backend", BackendArea),
            ("backend-id", request.BackendDomain.ToString()),
            ("virtual-device", Number),
            ("device-type", DeviceType),
            ("state", "1"),
        ];

    private string DeviceType => request.Cdrom ? "cdrom" : "disk";
}
