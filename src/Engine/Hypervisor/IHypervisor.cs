using Blkring.Engine.Queues;

namespace Blkring.Engine.Hypervisor;

/// <summary>
/// How guests are reached: libxen, or the loopback. The control plane opens it once; each ring of each device is one
/// access.
/// </summary>
public interface IHypervisor
{
    /// <summary>A way to one ring of a guest; nothing is mapped or bound yet.</summary>
    /// <exception cref="VbdConnectException">There is no such domain, or no more can be opened.</exception>
    RingAccess OpenRing(DomainId frontend);

    /// <summary>
    /// The kernel loses count of a guest's page that is unmapped while it is pinned, as in a PV domain
    /// (<see cref="GrantModes.Resolve"/>).
    /// </summary>
    bool LosesPinnedPages => false;

    /// <summary>One line for people: what it is.</summary>
    string Describe();
}
