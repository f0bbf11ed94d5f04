using System.Collections.Frozen;
using Blkring.Engine.Errors;
using Blkring.Engine.Xenbus;

namespace Blkring.Settings;

/// <summary>
/// What an administrator can do about an error of the engine, in the words of the configuration, which the engine does
/// not know. The engine's message says what is wrong.
/// </summary>
internal static class Advice
{
    /// <summary>In an advice: the device that the error is about, as commands name it.</summary>
    private const string Device = "DEVICE";

    private static readonly FrozenDictionary<ErrorCode, string> s_byCode = new Dictionary<ErrorCode, string>
    {
        [ErrorCode.ImageInUse] =
            $"to share it on purpose, set {DeviceSettings.Lock.Name} to 'no' for each of its devices",
        [ErrorCode.ImageInUseByHost] =
            $"to share it on purpose, set {DeviceSettings.Lock.Name} to 'no' for each of its devices",
        [ErrorCode.ImageNotLocked] =
            $"to serve it without a lock, set {DeviceSettings.Lock.Name} to 'no' for its device",
        [ErrorCode.ImageWithoutDirectIo] = $"set {DeviceSettings.Cache.Name} to 'none' or 'writeback'",
        [ErrorCode.OpenerAway] = "start it: 'systemctl start blkring-opener.socket'",
        [ErrorCode.OpenerRefused] =
            "to serve it on purpose, add its folder to the opener's (see images.conf in docs/deploy.md)",
        [ErrorCode.DiskLost] =
            $"make room or bring it back; with {DeviceSettings.LostDisk.Name} 'error' the guest gets errors instead",
        [ErrorCode.GrantModeIgnored] =
            $"set {DeviceSettings.Cache.Name} to 'writeback', or leave {DeviceSettings.Grants.Name} at 'auto' "
            + "(see docs/deploy.md)",
        [ErrorCode.JournalUnusable] = $"check the free space and the permissions of {RuntimeFolder.Path}",
        [ErrorCode.JournalOfOtherVersion] =
            $"start that version again, or let the guest go on without them: 'blkring continue {Device}'",
        [ErrorCode.JournalMissing] =
            $"bring {RuntimeFolder.Path} back, or do all of them again in the order of the ring, which loses the ones "
            + $"answered out of order: 'blkring continue {Device}'",
        [ErrorCode.RequestQuarantined] =
            $"report the bug; try the request again with 'blkring continue {Device}', or have the guest told that it "
            + $"failed with 'blkring continue {Device} --fail-request'",
        [ErrorCode.QueueCrashed] = "report the bug; the guest waits while the ring is taken over anew",
        [ErrorCode.ImageReplaced] =
            $"bring the image back, or let the guest go on with this one: 'blkring continue {Device}'",
        [ErrorCode.BlocksShared] =
            $"set {DeviceSettings.NativeSectors.Name} to 'yes' for every guest that shares it (see docs/deploy.md)",
        [ErrorCode.WritesLost] =
            "mend the storage, check the guest's file systems, and then let its flushes succeed again: "
            + $"'blkring continue {Device}'",
        [ErrorCode.RequestsUnderWay] = "check the disk: the kernel log of this host may say why it does not respond",
        [ErrorCode.NotFlushed] =
            "check the disk: the kernel log of this host may say why its writes do not end or fail",
        [ErrorCode.DeviceBusy] = "check the disk: the kernel log of this host may say why it does not respond",
        [ErrorCode.DeviceUnknown] = "see 'blkring list'",
    }.ToFrozenDictionary();

    /// <summary>The codes whose message says what to do, and errors that only the guest can correct.</summary>
    public static readonly FrozenSet<ErrorCode> NotNeeded = FrozenSet.Create(
        ErrorCode.Unexpected,
        // The message names the command or the key.
        ErrorCode.ImagePathEmpty,
        ErrorCode.ImagePathRelative,
        ErrorCode.ImageMissing,
        ErrorCode.ImageNotReadable,
        ErrorCode.ImageNotWritable,
        ErrorCode.ImageNotOpened,
        ErrorCode.ImageWrongType,
        ErrorCode.ImageEmpty,
        ErrorCode.ImageTooSmall,
        ErrorCode.ImageMisaligned,
        ErrorCode.ImageLengthUnknown,
        ErrorCode.FrontendKeyMissing,
        ErrorCode.FrontendKeyWrong,
        ErrorCode.ImageKeyWrong,
        ErrorCode.ImageFormatUnsupported,
        ErrorCode.MediumMissing,
        // The guest's driver.
        ErrorCode.ConnectFailed,
        ErrorCode.KeyMissing,
        ErrorCode.KeyNotANumber,
        ErrorCode.KeyOutOfRange,
        ErrorCode.ProtocolUnknown,
        ErrorCode.RingSizeUnsupported,
        ErrorCode.RingMissing,
        ErrorCode.DomainMissing,
        ErrorCode.GrantLimitRefused,
        ErrorCode.GrantsNotMapped,
        ErrorCode.EventChannelNotBound,
        ErrorCode.RingBroken,
        // Commands.
        ErrorCode.DeviceGone,
        ErrorCode.DeviceNotConnected,
        ErrorCode.DeviceWithoutImage,
        ErrorCode.MediumFixed,
        ErrorCode.NothingToDecide,
        ErrorCode.LimitsNotKept,
        // The message names the package, the module or the service.
        ErrorCode.StoreLibraryMissing,
        ErrorCode.StoreAccessDenied,
        ErrorCode.StoreNotRunning,
        ErrorCode.StoreDisconnected,
        ErrorCode.StoreCallFailed,
        ErrorCode.StoreBusy,
        ErrorCode.XenLibraryMissing,
        ErrorCode.XenDeviceRefused,
        ErrorCode.GrantCopyUnsupported
    );

    /// <returns>The error's message, with the advice if there is any.</returns>
    public static string Explain(EngineError error) =>
        For(error) is { } advice ? $"{error.Message}; {advice}" : error.Message;

    /// <returns>Null if the message needs none.</returns>
    public static string? For(EngineError error) =>
        s_byCode.GetValueOrDefault(error.Code)?.Replace(Device, error.Device ?? Device, StringComparison.Ordinal);

    /// <summary>The codes that have advice.</summary>
    public static IEnumerable<ErrorCode> Given => s_byCode.Keys;
}
