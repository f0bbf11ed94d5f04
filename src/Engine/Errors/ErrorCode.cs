namespace Blkring.Engine.Errors;

/// <summary>
/// What went wrong, as a value that does not change: the command line selects its advice by it, and tests match it.
/// The name is part of the <c>--json</c> output, so a code is never renamed.
/// </summary>
public enum ErrorCode
{
    /// <summary>An exception that no other code describes: a bug.</summary>
    Unexpected,

    // Images and block devices.
    ImagePathEmpty,
    ImagePathRelative,
    ImageMissing,
    ImageNotReadable,
    ImageNotWritable,
    ImageNotOpened,
    ImageInUse,
    ImageInUseByHost,
    ImageNotLocked,
    ImageWrongType,
    ImageEmpty,
    ImageTooSmall,
    ImageMisaligned,
    ImageLengthUnknown,
    ImageWithoutDirectIo,
    OpenerAway,
    OpenerRefused,

    // The keys of a device that the toolstack or its script wrote.
    FrontendKeyMissing,
    FrontendKeyWrong,
    ImageKeyWrong,
    ImageFormatUnsupported,
    MediumMissing,

    // What a frontend offered.
    ConnectFailed,
    KeyMissing,
    KeyNotANumber,
    KeyOutOfRange,
    ProtocolUnknown,
    RingSizeUnsupported,
    RingMissing,
    DomainMissing,
    GrantLimitRefused,
    GrantsNotMapped,
    EventChannelNotBound,
    JournalUnusable,
    JournalOfOtherVersion,
    RingBroken,

    // A disk that is full or gone while a guest uses it.
    DiskLost,

    // A device that waits until an operator decides.
    JournalMissing,
    ImageReplaced,
    WritesLost,
    QueueCrashed,
    RequestQuarantined,

    // Warnings: the device is served, but not as configured.
    GrantModeIgnored,
    BlocksShared,

    // Commands.
    DeviceUnknown,
    DeviceGone,
    DeviceBusy,
    DeviceNotConnected,
    DeviceWithoutImage,
    RequestsUnderWay,
    NotFlushed,
    MediumFixed,
    NothingToDecide,
    LimitsNotKept,

    // xenstore.
    StoreLibraryMissing,
    StoreAccessDenied,
    StoreNotRunning,
    StoreDisconnected,
    StoreCallFailed,
    StoreBusy,

    // Xen.
    XenLibraryMissing,
    XenDeviceRefused,
    GrantCopyUnsupported,
}
