using System.Collections.ObjectModel;
using System.Globalization;
using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Xenbus;

/// <summary>What a device offers its frontend: its options, and the keys that were written from them.</summary>
internal sealed class DeviceOffer
{
    /// <summary>The configured mode, if it is not used; see <see cref="GrantModes.Resolve"/>.</summary>
    private GrantMode? _ignoredMode;
    private bool _sharesLock;

    public DeviceOptions Options { get; private set; } = new();

    /// <summary>The keys that describe the device to a connected frontend, as they were last written.</summary>
    public IReadOnlyDictionary<string, string> Features { get; private set; } =
        ReadOnlyDictionary<string, string>.Empty;

    /// <summary>Decides which of the configured options are offered for this disk.</summary>
    /// <param name="losesPinnedPages"><see cref="Hypervisor.IHypervisor.LosesPinnedPages"/></param>
    public void Prepare(DeviceOptions configured, DiskKeys keys, Disk? disk, bool losesPinnedPages)
    {
        GrantMode? asked = configured.GrantMode;
        // The disk that a drive will get, or that a script will name, is not known yet.
        bool mayPinPages = keys.IsDrive || disk is not { PinsPages: false };
        // Where the lock is shared or off, a takeover cannot wait for what the kernel still reads for a daemon that
        // was killed. It may end in that daemon's memory, and never in pages of the guest that are used again.
        _sharesLock = disk is { ReadOnly: true } || !keys.Writable || keys.SharesWriters || !configured.Lock;
        GrantMode resolved = GrantModes.Resolve(asked, mayPinPages, losesPinnedPages || _sharesLock);
        _ignoredMode = !keys.MustCopy && asked != resolved ? asked : null;
        Options = configured with
        {
            GrantMode = keys.MustCopy ? GrantMode.Copy : resolved,
            NativeSectors = configured.NativeSectors && !keys.IsDrive,
        };
    }

    /// <summary>
    /// Limits the options to those that the keys in the area offer. A daemon with other options may have written them:
    /// an offer is kept, and nothing is used that was not offered.
    /// </summary>
    public void LimitTo(IXenstore store, string area, bool takeover)
    {
        int Offered(string key, int absent, int limit) =>
            int.TryParse(store.Read($"{area}/{key}"), NumberStyles.None, CultureInfo.InvariantCulture, out int value)
                ? Math.Min(value, limit)
                : absent;

        // Frontends write feature-persistent whether or not it was offered, and use it only if it was.
        bool keepsCopying =
            Options.GrantMode == GrantMode.Persistent && Offered(XenstoreKeys.FeaturePersistent, 0, 1) == 0;
        Options = Options with
        {
            MaxRingPageOrder = Offered(XenstoreKeys.MaxRingPageOrder, 0, DeviceSettings.MaxRingPageOrder.Max),
            MaxQueues = Offered(XenstoreKeys.MaxQueues, 1, DeviceSettings.MaxQueues.Max),
            MaxIndirectSegments = Offered(XenstoreKeys.MaxIndirectSegments, 0, DeviceSettings.MaxIndirectSegments.Max),
            GrantMode = keepsCopying ? GrantMode.Copy : Options.GrantMode,
            // Written only with Connected: before that, the key is left over from another handshake.
            NativeSectors = takeover
                ? Offered(XenstoreKeys.SectorSize, Disk.SectorBytes, int.MaxValue) > Disk.SectorBytes
                : Options.NativeSectors,
        };
    }

    public void NoteFeatures(ReadOnlySpan<KeyValuePair<string, string?>> written)
    {
        Dictionary<string, string> features = [];
        foreach ((string key, string? value) in written)
            if (value is not null)
                features[key] = value;
        Features = features.AsReadOnly();
    }

    public void ForgetFeatures() => Features = ReadOnlyDictionary<string, string>.Empty;

    /// <summary>Why the configured grant mode is not used; null when it is.</summary>
    public EngineError? FindIgnoredMode()
    {
        if (_ignoredMode is not { } mode)
            return null;
        string name = mode.ToString().ToLowerInvariant();
        return new EngineError(
            ErrorCode.GrantModeIgnored,
            $"grant mode '{name}' is ignored and the guest's pages are copied: "
                + (
                    _sharesLock
                        ? "O_DIRECT reads of a daemon that was killed could end in pages that the guest uses again, "
                            + "and without a lock of its own on the image the next daemon cannot wait for them"
                        : "O_DIRECT on mapped pages corrupts their reference counts in the kernel of a PV domain, and "
                            + "I/O would fail until it boots again"
                )
        )
        {
            Value = name,
        };
    }
}
