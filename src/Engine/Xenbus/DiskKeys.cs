using System.Globalization;
using Blkring.Abi;
using Blkring.Engine.Errors;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// What the toolstack and its script wrote about a device's disk (blkif.h, "Backend XenBus Nodes", first part).
/// </summary>
internal sealed record DiskKeys
{
    /// <summary>The image or device; null for a drive without a medium.</summary>
    public string? Path { get; private init; }

    /// <summary>Used where <see cref="Path"/>, a node that udev makes, does not exist.</summary>
    private string? FallbackPath { get; init; }

    /// <summary>The script has not yet named the device: it will write physical-device.</summary>
    public bool IsPending { get; private init; }

    public bool Writable { get; private init; }
    public bool IsCdRom { get; private init; }
    public bool IsRemovable { get; private init; }

    /// <summary>mode has an exclamation mark, as in w!: other programs may write the image at the same time.</summary>
    public bool SharesWriters { get; private init; }

    /// <summary>discard-enable is not 0.</summary>
    public bool Discard { get; private init; }

    /// <summary>
    /// direct-io-safe is 0: the store may still read a page after it has answered, as network storage does when it
    /// retransmits. So it must not get the guest's own pages.
    /// </summary>
    public bool MustCopy { get; private init; }

    /// <summary>
    /// The values of the keys that name the medium. If they changed, so did the medium, or the cause of a failure.
    /// </summary>
    public string Source { get; private init; } = "";

    /// <summary>Why the disk that the keys name cannot be served; null if it may be possible.</summary>
    public EngineError? Problem { get; private init; }

    /// <summary>A drive: its medium may be missing or change.</summary>
    public bool IsDrive => IsCdRom || IsRemovable;

    /// <summary>The key info: a set of VDISK_* of blkif.h.</summary>
    public int Info(bool readOnly) =>
        (IsCdRom ? Blkif.VdiskCdrom : 0)
        | (IsRemovable ? Blkif.VdiskRemovable : 0)
        | (readOnly ? Blkif.VdiskReadonly : 0);

    /// <summary>The path to open; null for a drive without a medium.</summary>
    public string? FindPath(IControlFiles files) =>
        FallbackPath is not null && !files.Exists(Path!) ? FallbackPath : Path;

    /// <summary>
    /// The values of the keys that name the medium. physical-device-path alone names no medium: scripts also write it
    /// for other readers.
    /// </summary>
    public static string ReadSource(IXenstore store, string area) =>
        store.Read($"{area}/{XenstoreKeys.PhysicalDevice}") is { Length: > 0 } device
            ? $"{device}\n{store.Read($"{area}/{XenstoreKeys.PhysicalDevicePath}")}"
            : store.Read($"{area}/{XenstoreKeys.Params}") ?? "";

    public static DiskKeys Read(IXenstore store, string area)
    {
        string? Key(string name) => store.Read($"{area}/{name}");

        string? device = Key(XenstoreKeys.PhysicalDevice),
            text = Key(XenstoreKeys.Params);
        string mode = Key(XenstoreKeys.Mode) ?? "";
        bool cdRom = Key(XenstoreKeys.DeviceType) == "cdrom";
        DiskKeys keys = new()
        {
            Source = ReadSource(store, area),
            // A CD-ROM is never written, whatever the mode. An absent mode does not allow writing.
            Writable = !cdRom && mode is ['w', ..],
            SharesWriters = mode.Contains('!', StringComparison.Ordinal),
            IsCdRom = cdRom,
            IsRemovable = Key(XenstoreKeys.Removable) == "1",
            Discard = Key(XenstoreKeys.DiscardEnable) != "0",
            MustCopy = Key(XenstoreKeys.DirectIoSafe) == "0",
        };
        // For scripts of phy disks (block-iscsi, block-drbd and others) params has the script's own syntax; the script
        // answers with physical-device.
        bool isPending =
            string.IsNullOrEmpty(device)
            && Key(XenstoreKeys.Type) == "phy"
            && !string.IsNullOrEmpty(text)
            && text[0] != '/'
            && Key(XenstoreKeys.Script) is not null;
        if (isPending)
            return keys with { IsPending = true };
        try
        {
            return string.IsNullOrEmpty(device)
                ? keys.WithImage(text)
                : keys.WithDevice(device, Key(XenstoreKeys.PhysicalDevicePath));
        }
        catch (DeviceException e)
        {
            return keys with { Problem = e.Error };
        }
    }

    private DiskKeys WithImage(string? text)
    {
        string? path = ParamsPath(text);
        if (path is not null || IsDrive)
            return this with { Path = path };
        return this with
        {
            Problem = new EngineError(
                ErrorCode.MediumMissing,
                "params names no image: only a CD-ROM or a removable drive may be empty"
            )
            {
                Key = XenstoreKeys.Params,
                Value = text,
            },
        };
    }

    /// <summary>physical-device is major:minor in hexadecimal; udev names the node by its decimal numbers.</summary>
    private DiskKeys WithDevice(string device, string? path)
    {
        int colon = device.IndexOf(':', StringComparison.Ordinal);
        if (
            colon <= 0
            || !TryParseHex(device.AsSpan(0, colon), out uint major)
            || !TryParseHex(device.AsSpan(colon + 1), out uint minor)
        )
            throw Wrong(
                ErrorCode.ImageKeyWrong,
                XenstoreKeys.PhysicalDevice,
                device,
                $"physical-device is {LogText.Quote(device)}, not major:minor in hexadecimal"
            );
        return this with
        {
            Path = string.Create(CultureInfo.InvariantCulture, $"/dev/block/{major}:{minor}"),
            FallbackPath = path is ['/', ..] ? path : null,
        };
    }

    /// <summary>
    /// The path in params: aio:PATH, raw:PATH, file:PATH, phy:PATH or the path alone, which may contain any character.
    /// </summary>
    /// <returns>Null when there is no medium.</returns>
    private static string? ParamsPath(string? text)
    {
        if (string.IsNullOrEmpty(text))
            return null;
        // The kernel would end the path there, and open a different file.
        if (text.Contains('\0', StringComparison.Ordinal))
            throw WrongParams(
                ErrorCode.ImageKeyWrong,
                text,
                $"params is {LogText.Quote(text)}: a path cannot contain a zero byte"
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
                    : throw WrongParams(
                        ErrorCode.ImagePathRelative,
                        path,
                        $"params names {LogText.Quote(path)}: give the absolute path of the image, which begins with /"
                    );
            case "vhd" or "vhdx" or "qcow" or "qcow2" or "qed" or "vmdk" or "vdi":
                throw WrongParams(
                    ErrorCode.ImageFormatUnsupported,
                    format,
                    $"params asks for the format {format}, only raw images are served: "
                        + "convert it with 'qemu-img convert -O raw'"
                );
            default:
                throw WrongParams(
                    ErrorCode.ImageKeyWrong,
                    text,
                    $"params is {LogText.Quote(text)}: aio:PATH, raw:PATH, file:PATH, phy:PATH "
                        + "or a path that begins with / are served"
                );
        }
    }

    private static DeviceException WrongParams(ErrorCode code, string value, string message) =>
        Wrong(code, XenstoreKeys.Params, value, message);

    private static DeviceException Wrong(ErrorCode code, string key, string value, string message) =>
        new(new EngineError(code, message) { Key = key, Value = value });

    private static bool TryParseHex(ReadOnlySpan<char> text, out uint value) =>
        uint.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
}
