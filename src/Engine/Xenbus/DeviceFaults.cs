using Blkring.Engine.Errors;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// Whose fault an error is while a running guest has the device. A fault of the frontend closes the device; for a fault
/// of the host the guest waits; and some faults of the host only an operator can judge.
/// </summary>
internal static class DeviceFaults
{
    /// <summary>The frontend's own keys or ring are wrong: it is told by Closing.</summary>
    public static bool IsOfFrontend(EngineError error, XenbusState frontend) =>
        error.Code switch
        {
            ErrorCode.KeyMissing
            or ErrorCode.KeyNotANumber
            or ErrorCode.KeyOutOfRange
            or ErrorCode.ProtocolUnknown
            or ErrorCode.RingSizeUnsupported
            or ErrorCode.RingMissing
            or ErrorCode.RingBroken => true,
            // A ring that is published anew. One that was served before has right numbers: a daemon that was killed and
            // cannot end, because of its disk, still has the channel.
            ErrorCode.GrantsNotMapped or ErrorCode.EventChannelNotBound => frontend == XenbusState.Initialised
                && error.Errno is 0 or Interop.Errno.EINVAL,
            _ => false,
        };

    /// <summary>Time alone does not mend it: data could be lost either way.</summary>
    public static bool NeedDecision(ErrorCode code) =>
        code
            is ErrorCode.JournalMissing
                or ErrorCode.JournalOfOtherVersion
                or ErrorCode.ImageReplaced
                or ErrorCode.RequestQuarantined;
}
