using System.Runtime.InteropServices;
using Blkring.Engine.Errors;
using Blkring.Engine.Hypervisor;
using Blkring.Interop;

namespace Blkring.Engine.Xen;

/// <summary>
/// One ring of a guest under Xen, with its own handles of libxengnttab and libxenevtchn.
/// </summary>
/// <remarks>
/// With handles per ring, each queue's event channel has a descriptor that its reactor can wait for, and closing them
/// releases everything that the kernel holds for the ring.
/// </remarks>
public sealed unsafe class XenRingAccess : RingAccess
{
    private LibXenGnttab.xengnttab_handle* _grants;
    private LibXenEvtchn.xenevtchn_handle* _events;
    private byte* _ring;
    private uint _ringPages;
    private readonly int _descriptor;
    private int _port = Unbound;

    private const int Unbound = -1;

    /// <exception cref="VbdConnectException">A device does not open.</exception>
    internal XenRingAccess(DomainId frontend)
    {
        Frontend = frontend;
        try
        {
            Require(LibXenGnttab.Open(out _grants), XenLibraries.GnttabDevice);
            Require(LibXenEvtchn.Open(out _events), XenLibraries.EvtchnDevice);
            _descriptor = LibXenEvtchn.Descriptor(_events);
            // Taking an event must not wait when there is none.
            Require(
                Libc.SetStatusFlags(_descriptor, Math.Max(0, Libc.GetStatusFlags(_descriptor)) | Libc.O_NONBLOCK),
                XenLibraries.EvtchnDevice
            );
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public override DomainId Frontend { get; }

    public XenGrants Grants => new(_grants);

    public XenEventChannel EventChannel => new(_events, (uint)_port, _descriptor);

    public override void SetGrantLimit(int pages)
    {
        int result = LibXenGnttab.SetMaxGrants(_grants, (uint)pages);
        if (result < 0)
            throw new VbdConnectException(
                $"{pages} grants cannot be mapped at a time: {Errno.Describe(result)}",
                ErrorCode.GrantLimitRefused
            );
    }

    public override byte* MapRing(ReadOnlySpan<GrantReference> references)
    {
        if (_ring != null)
            throw new InvalidOperationException("the ring is mapped already");
        nint mapped = LibXenGnttab.MapDomainGrantRefs(
            _grants,
            Frontend.Value,
            MemoryMarshal.Cast<GrantReference, uint>(references),
            Libc.PROT_READ | Libc.PROT_WRITE
        );
        if (mapped < 0)
        {
            throw new VbdConnectException(
                $"the ring's grants {Describe(references)} of domain {Frontend} cannot be mapped read-write: "
                    + Errno.Describe((int)mapped),
                ErrorCode.GrantsNotMapped,
                (int)-mapped
            );
        }
        _ring = (byte*)mapped;
        _ringPages = (uint)references.Length;
        return _ring;
    }

    public override void UnmapRing()
    {
        if (_ring == null)
            return;
        _ = LibXenGnttab.Unmap(_grants, _ring, _ringPages);
        _ring = null;
    }

    public override void BindEventChannel(EventChannelPort port)
    {
        if (_port != Unbound)
            throw new InvalidOperationException("the event channel is bound already");
        int bound = LibXenEvtchn.BindInterdomain(_events, Frontend.Value, port.Value);
        if (bound < 0)
            throw new VbdConnectException(
                $"event channel {port} of domain {Frontend} cannot be bound: {Errno.Describe(bound)}",
                ErrorCode.EventChannelNotBound,
                -bound
            );
        _port = bound;
    }

    public override void UnbindEventChannel()
    {
        if (_port == Unbound)
            return;
        _ = LibXenEvtchn.Unbind(_events, (uint)_port);
        _port = Unbound;
    }

    public override TResult Accept<TResult>(IRingVisitor<TResult> visitor)
    {
        if (_port == Unbound)
            throw new InvalidOperationException("the event channel is not bound");
        return visitor.Visit(Grants, EventChannel);
    }

    protected override void Dispose(bool disposing)
    {
        if (_events != null)
            _ = LibXenEvtchn.Close(_events);
        if (_grants != null)
            _ = LibXenGnttab.Close(_grants);
        _events = null;
        _grants = null;
    }

    private static void Require(int result, string device)
    {
        if (result < 0)
            throw new VbdConnectException(XenLibraries.ExplainRefusal(device, result), ErrorCode.XenDeviceRefused);
    }

    /// <summary>At most 16 numbers, which the guest chose.</summary>
    private static string Describe(ReadOnlySpan<GrantReference> references) => string.Join(' ', references.ToArray());
}
