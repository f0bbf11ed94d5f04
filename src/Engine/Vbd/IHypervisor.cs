namespace Blkring.Engine;

/// <summary>How guests are reached: libxen, or the loopback. The control plane opens it once; each ring of each device is one access.</summary>
public interface IHypervisor
{
    /// <summary>A way to one ring of a guest; nothing is mapped or bound yet.</summary>
    /// <exception cref="VbdConnectException">There is no such domain, or no more can be opened.</exception>
    RingAccess OpenRing(DomainId frontend);

    /// <summary>One line for people: what it is.</summary>
    string Describe();
}
