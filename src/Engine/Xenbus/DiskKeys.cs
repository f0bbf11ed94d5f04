using System.Globalization;
using Blkring.Engine.Errors;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// What the toolstack and its script say about a device's disk (blkif.h, "Backend XenBus Nodes", first part).
/// </summary>
internal sealed record DiskKeys
{
    /// <summary>The image or device; null for a drive without a medium.</summary>
    public string? Path { get; private init; }

    /// <summary>The script has not yet said which device it is: it will write physical-device.</summary>
    public bool IsPending { get; private init; }

    public bool Writable { get; private init; }
    public bool IsCdRom { get; private init; }
    public bool IsRemovable { get; private init; }

    /// <summary>mode has an exclamation mark, as in w!: others may write the image at the same time.</summary>
    public bool SharesWriters { get; private init; }

    /// <summary>discard-enable is not 0.</summary>
    public bool Discard { get; private init; }

    /// <summary>
    /// direct-io-safe is 0: the store may still read a page after it has answered (network storage that sends again).
    /// The guest's own pages are then not handed to it.
    /// </summary>
    public bool MustCopy { get; private init; }

    /// <summary>
    /// The keys that name the medium, as they were read: when they change, so did the medium, or the cause of a fault.
    /// </summary>
    public string Source { get; private init; } = "";

    /// <summary>Why nothing that the keys name can be served; null when something can be tried.</summary>
    public EngineError? Problem { get; private init; }

    /// <summary>A drive, whose medium may be changed or missing.</summary>
    public bool IsDrive => IsCdRom || IsRemovable;

    /// <summary>info: VDISK_CDROM, VDISK_REMOVABLE and VDISK_READONLY of blkif.h.</summary>
    public int Info(bool readOnly) => (IsCdRom ? 1 : 0) | (IsRemovable ? 2 : 0) | (readOnly ? 4 : 0);

    /// <summary>
    /// The keys that name the medium. A path alone does not: scripts write it for other readers, too.
    /// </summary>
    public static string ReadSource(IXenstore store, string area) =>
        store.Read($"{area}/physical-device") is { Length: > 0 } device
            ? $"{device}\n{store.Read($"{area}/physical-device-path")}"
            : store.Read($"{area}/params") ?? "";

    public static DiskKeys Read(IXenstore store, string area)
    {
        string? device = store.Read($"{area}/physical-device");
        string? text = store.Read($"{area}/params");
        string mode = store.Read($"{area}/mode") ?? "";
        bool cdRom = store.Read($"{area}/device-type") == "cdrom";
        bool removable = store.Read($"{area}/removable") == "1";
        DiskKeys keys = new()
        {
            Source = ReadSource(store, area),
            // A CD-ROM is never written, whatever the mode; an absent mode promises nothing.
            Writable = !cdRom && mode is ['w', ..],
            SharesWriters = mode.Contains('!', StringComparison.Ordinal),
            IsCdRom = cdRom,
            IsRemovable = removable,
            Discard = store.Read($"{area}/discard-enable") != "0",
            MustCopy = store.Read($"{area}/direct-io-safe") == "0",
        };
        // Scripts of phy disks (block-iscsi, block-drbd and others) take params in words of their own, and answer with
        // physical-device.
        bool isPending =
            string.IsNullOrEmpty(device)
            && store.Read($"{area}/type") == "phy"
            && !string.IsNullOrEmpty(text)
            && text[0] != '/'
            && store.Read($"{area}/script") is not null;
        if (isPending)
            return keys with { IsPending = true };
        try
        {
            string? path = string.IsNullOrEmpty(device)
                ? ParamsPath(text)
                : DevicePath(device, store.Read($"{area}/physical-device-path"));
            return path is not null || keys.IsDrive
                ? keys with
                {
                    Path = path,
                }
                : keys with
                {
                    Problem = new EngineError(
                        ErrorCode.MediumMissing,
                        "params names no image: only a CD-ROM or a removable drive may be empty"
                    ),
                };
        }
        catch (DeviceException e)
        {
            return keys with { Problem = e.Error };
        }
    }

    /// <summary>
    /// params: aio:PATH, raw:PATH, file:PATH, phy:PATH or a path, which may hold any character; null when there is no
    /// medium.
    /// </summary>
    internal static string? ParamsPath(string? text)
    {
        if (string.IsNullOrEmpty(text))
            return null;
        // The kernel would end the path there, and open something else than was named.
        if (text.Contains('\0', StringComparison.Ordinal))
            throw new DeviceException(
                ErrorCode.ImageKeyWrong,
                $"params is {LogText.Quote(text)}: a path has no zero byte"
            );
        if (text[0] == '/')
            return text;
        int colon = text.IndexOf(':', StringComparison.Ordinal);
        string format = colon < 0 ? "" : text[..colon],
            path = text[(colon + 1)..];
        switch (format)
        {
            case "aio" or "raw" or "file" or "phy":
                if (path.Length == 0)
                    return null;
                return path[0] == '/'
                    ? path
                    : throw new DeviceException(
                        ErrorCode.ImagePathRelative,
                        $"params names {LogText.Quote(path)}: name the image by its whole path, from / on"
                    );
            case "vhd" or "vhdx" or "qcow" or "qcow2" or "qed" or "vmdk" or "vdi":
                throw new DeviceException(
                    ErrorCode.ImageFormatUnsupported,
                    $"params asks for the format {format}, raw images are served: convert it with 'qemu-img convert -O raw'"
                );
            default:
                throw new DeviceException(
                    ErrorCode.ImageKeyWrong,
                    $"params is {LogText.Quote(text)}: aio:PATH, raw:PATH, file:PATH or a path from / on are served"
                );
        }
    }

    /// <summary>physical-device is major:minor in hexadecimal; udev knows such a device by its numbers.</summary>
    private static string DevicePath(string device, string? path)
    {
        int colon = device.IndexOf(':', StringComparison.Ordinal);
        if (
            colon <= 0
            || !Hex(device.AsSpan(0, colon), out uint major)
            || !Hex(device.AsSpan(colon + 1), out uint minor)
        )
            throw new DeviceException(
                ErrorCode.ImageKeyWrong,
                $"physical-device is {LogText.Quote(device)}, not major:minor in hexadecimal"
            );
        string byNumber = string.Create(CultureInfo.InvariantCulture, $"/dev/block/{major}:{minor}");
        return path is ['/', ..] && !File.Exists(byNumber) ? path : byNumber;
    }

    private static bool Hex(ReadOnlySpan<char> text, out uint value) =>
        uint.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
}
