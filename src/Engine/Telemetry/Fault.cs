using Blkring.Interop;

namespace Blkring.Engine.Telemetry;

/// <summary>What went wrong on the data path; it says what <see cref="Fault.Code"/> holds.</summary>
public enum FaultKind : byte
{
    /// <summary>
    /// A request that can never be served: too many segments, beyond the end of the disk and the like. The code is the
    /// response's status, BLKIF_RSP_*.
    /// </summary>
    InvalidRequest,

    /// <summary>
    /// The frontend's producer index is impossible; the queue has stopped for good (B4). There is no code: see
    /// <see cref="Fault.RequestProducer"/>.
    /// </summary>
    BrokenRing,

    /// <summary>A grant could not be copied. The code is GNTST_*.</summary>
    GrantCopy,

    /// <summary>The disk failed. The code is a positive errno.</summary>
    Disk,

    /// <summary>A grant could not be mapped. The code is GNTST_*.</summary>
    GrantMap,

    /// <summary>
    /// Mapped pages could not be unmapped and stay mapped until the process ends. The code is GNTST_*; the fault
    /// belongs to no request: see <see cref="Fault.Pages"/>.
    /// </summary>
    GrantUnmap,
}

/// <summary>One record of a <see cref="FaultLog"/>: numbers while it is recorded, names when it is read.</summary>
/// <param name="Operation">BLKIF_OP_* of the request.</param>
/// <param name="Code">The reason, as <paramref name="Kind"/> says.</param>
/// <param name="Sector">The request's sector_number as the guest gave it.</param>
/// <param name="Suppressed">The number of faults dropped by the rate limit since the record before this one.</param>
public readonly record struct Fault(FaultKind Kind, byte Operation, int Code, ulong Sector, long Suppressed)
{
    /// <summary>The frontend's req_prod, for <see cref="FaultKind.BrokenRing"/>.</summary>
    public uint RequestProducer { get; init; }

    /// <summary>The backend's req_cons at that moment.</summary>
    public uint RequestConsumer { get; init; }

    /// <summary>The number of pages that stay mapped, for <see cref="FaultKind.GrantUnmap"/>.</summary>
    public int Pages { get; init; }

    /// <summary>
    /// Whether the fault belongs to a request, which <see cref="Operation"/> and <see cref="Sector"/> name.
    /// </summary>
    public bool IsOfRequest => Kind is not (FaultKind.BrokenRing or FaultKind.GrantUnmap);

    /// <summary>
    /// The code by its name in Xen's headers or errno.h; a number that has no name is printed as a number.
    /// </summary>
    public string CodeName =>
        Kind switch
        {
            FaultKind.InvalidRequest => XenNames.ResponseStatus(Code),
            FaultKind.GrantCopy or FaultKind.GrantMap or FaultKind.GrantUnmap => XenNames.GrantStatus(Code),
            FaultKind.Disk => Errno.Describe(Code),
            _ => "",
        };

    /// <summary>The facts in one line, without the kind and without <see cref="Suppressed"/>. Allocates.</summary>
    public string Describe() =>
        Kind switch
        {
            FaultKind.BrokenRing => $"req_prod {RequestProducer} is impossible after req_cons {RequestConsumer}",
            FaultKind.GrantUnmap => $"{Pages} page(s) stay mapped: {CodeName}",
            _ => $"{XenNames.Operation(Operation)} at sector {Sector}: {CodeName}",
        };
}
