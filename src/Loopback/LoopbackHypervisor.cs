using System.Collections.Concurrent;
using Blkring.Engine.Errors;
using Blkring.Engine.Hypervisor;

namespace Blkring.Loopback;

/// <summary>
/// The loopback domains of this process, by number. Removing a domain has the effect of a guest that crashes.
/// </summary>
public sealed class LoopbackHypervisor(params LoopbackDomain[] domains) : IHypervisor
{
    private readonly ConcurrentDictionary<DomainId, LoopbackDomain> _domains = new(
        domains.ToDictionary(domain => domain.Id)
    );

    /// <summary>Only reported, for tests of what the control plane does about it.</summary>
    public bool LosesPinnedPages { get; set; }

    public void Add(LoopbackDomain domain)
    {
        if (!_domains.TryAdd(domain.Id, domain))
            throw new InvalidOperationException($"there is a loopback domain {domain.Id} already");
    }

    public void Remove(LoopbackDomain domain) =>
        _domains.TryRemove(new KeyValuePair<DomainId, LoopbackDomain>(domain.Id, domain));

    public RingAccess OpenRing(DomainId frontend) =>
        _domains.TryGetValue(frontend, out LoopbackDomain? domain)
            ? LoopbackRingAccess.For(domain)
            : throw new VbdConnectException($"there is no domain {frontend}", ErrorCode.DomainMissing);

    public string Describe() => "loopback, without a hypervisor";
}
