namespace Blkring.Engine.Hypervisor;

/// <summary>
/// The access to guests: by Xen's libraries, or by the loopback. The control plane opens it once, and a
/// <see cref="RingAccess"/> per ring.
/// </summary>
public interface IHypervisor
{
    /// <summary>Opens the access to one ring of a guest; nothing is mapped or bound yet.</summary>
    /// <exception cref="VbdConnectException">There is no such domain, or no more can be opened.</exception>
    RingAccess OpenRing(DomainId frontend);

    /// <summary>
    /// Unmapping a guest's page that is still pinned corrupts its reference count in the kernel, as in a PV domain
    /// (GrantModes.Resolve of the queues).
    /// </summary>
    bool LosesPinnedPages => false;

    /// <summary>
    /// Half of the entries that Xen has for a domain by default: gnttab_max_maptrack_frames of 1024, each of 512.
    /// </summary>
    const int DefaultMappableGrants = 1024 * 512 / 2;

    /// <summary>The grants that may be mapped for guests' disks, with as much left for other backends.</summary>
    int MappableGrants => DefaultMappableGrants;

    /// <summary>What it is, in one line for people.</summary>
    string Describe();
}
