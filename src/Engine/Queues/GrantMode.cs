using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;

namespace Blkring.Engine.Queues;

/// <summary>How a device reaches its guest's pages.</summary>
public enum GrantMode : byte
{
    /// <summary>The hypervisor copies between the guest's pages and the queue's memory: one call per pass.</summary>
    Copy,

    /// <summary>The pages of a request are mapped while the disk works on them.</summary>
    Map,

    /// <summary>
    /// Pages stay mapped and are found by their grants, for frontends that use the same grants again and again.
    /// </summary>
    Persistent,
}

public static class GrantModes
{
    /// <summary>
    /// The mode to offer. Null (<c>auto</c>) becomes <see cref="GrantMode.Persistent"/>, which under Xen is the fastest
    /// or as fast as the fastest (docs/performance.md). feature-persistent is offered only with that mode, because a
    /// guest that uses the feature copies on its side.
    /// </summary>
    /// <remarks>
    /// Disks that pin pages are the exception. If pages that gntdev has mapped are unmapped while the kernel still
    /// holds references to them, because the process was killed or because it saw a completion before the kernel
    /// dropped its references, then their reference counts are wrong in a PV domain (Linux 5.19, and stable releases
    /// since July 2022, unmap them too late). From then on I/O to these pages fails, also for other devices. So in a PV
    /// domain such disks always use copies, whatever is configured.
    /// </remarks>
    /// <param name="pinsPages"><see cref="Disk.PinsPages"/></param>
    /// <param name="losesPinnedPages"><see cref="IHypervisor.LosesPinnedPages"/></param>
    public static GrantMode Resolve(GrantMode? asked, bool pinsPages, bool losesPinnedPages) =>
        pinsPages && (losesPinnedPages || asked is null) ? GrantMode.Copy : asked ?? GrantMode.Persistent;

    /// <summary>The mode of a connection: a frontend without feature-persistent is served by copies instead.</summary>
    public static GrantMode ForFrontend(GrantMode mode, bool persistentGrants) =>
        mode == GrantMode.Persistent && !persistentGrants ? GrantMode.Copy : mode;
}
