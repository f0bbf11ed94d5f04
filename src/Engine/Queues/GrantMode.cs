using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;

namespace Blkring.Engine.Queues;

/// <summary>How a device reaches its guest's pages.</summary>
public enum GrantMode : byte
{
    /// <summary>The hypervisor copies between the guest's pages and memory of ours: one call a pass.</summary>
    Copy,

    /// <summary>A request's pages are mapped for as long as the disk works on them.</summary>
    Map,

    /// <summary>
    /// Pages stay mapped and are found again by their grants, with frontends that use the same ones over and over.
    /// </summary>
    Persistent,
}

public static class GrantModes
{
    /// <summary>
    /// What to offer: the answer to null (<c>auto</c>) is <see cref="GrantMode.Persistent"/>, the fastest under Xen or
    /// level with the fastest (docs/performance.md). feature-persistent is advertised only with it: a guest that
    /// believes in it copies on its side.
    /// </summary>
    /// <remarks>
    /// But for disks that pin pages. Where the kernel still holds pages that gntdev has mapped when they are unmapped,
    /// because the process was killed or because it hears of a completion before the kernel lets go, their counts come
    /// out wrong in a PV domain (Linux 5.19, and stable releases since July 2022, unmap them too late): from then on
    /// I/O to them fails, for other devices as well. So there nobody gets it, not even by name.
    /// </remarks>
    /// <param name="pinsPages"><see cref="Disk.PinsPages"/></param>
    /// <param name="losesPinnedPages"><see cref="IHypervisor.LosesPinnedPages"/></param>
    public static GrantMode Resolve(GrantMode? asked, bool pinsPages, bool losesPinnedPages) =>
        pinsPages && (losesPinnedPages || asked is null) ? GrantMode.Copy : asked ?? GrantMode.Persistent;

    /// <summary>What a connection is served with: a frontend without feature-persistent gets copies instead.</summary>
    public static GrantMode ForFrontend(GrantMode mode, bool persistentGrants) =>
        mode == GrantMode.Persistent && !persistentGrants ? GrantMode.Copy : mode;
}
