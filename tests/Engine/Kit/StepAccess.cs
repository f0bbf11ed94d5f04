using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Kit;

/// <summary>Notes every step of connecting and stopping, in order, and fails at the one that a test names.</summary>
internal sealed unsafe class StepAccess(LoopbackDomain domain, string? failAt = null) : RingAccess, IHypervisor
{
    private readonly LoopbackRingAccess _inner = LoopbackRingAccess.For(domain);

    public List<string> Steps { get; } = [];
    public VbdQueue? Created { get; private set; }

    RingAccess IHypervisor.OpenRing(DomainId frontend) => this;

    string IHypervisor.Describe() => "a ring access that fails where a test asks";

    public override DomainId Frontend => _inner.Frontend;

    public override void SetGrantLimit(int pages)
    {
        Note($"{nameof(SetGrantLimit)} {pages}");
        _inner.SetGrantLimit(pages);
    }

    public override byte* MapRing(ReadOnlySpan<GrantReference> references)
    {
        Note(nameof(MapRing));
        return _inner.MapRing(references);
    }

    public override void UnmapRing()
    {
        Steps.Add(nameof(UnmapRing));
        _inner.UnmapRing();
    }

    public override void BindEventChannel(EventChannelPort port)
    {
        Note(nameof(BindEventChannel));
        _inner.BindEventChannel(port);
    }

    public override void UnbindEventChannel()
    {
        Steps.Add(nameof(UnbindEventChannel));
        _inner.UnbindEventChannel();
    }

    public override TResult Accept<TResult>(IRingVisitor<TResult> visitor)
    {
        VbdQueueFactory factory = Assert.IsType<VbdQueueFactory>(visitor);
        Note($"CreateQueue {factory.Protocol}");
        TResult result = _inner.Accept(visitor);
        Created = Assert.IsAssignableFrom<VbdQueue>(result);
        return result;
    }

    protected override void Dispose(bool disposing)
    {
        Steps.Add(nameof(Dispose));
        if (disposing)
            _inner.Dispose();
    }

    private void Note(string step)
    {
        Steps.Add(step);
        if (failAt is not null && step.StartsWith(failAt, StringComparison.Ordinal))
            throw new VbdConnectException($"{failAt} fails as the test asks");
    }
}
