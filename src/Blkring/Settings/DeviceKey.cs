using System.Globalization;
using Blkring.Engine.Xenbus;

namespace Blkring.Settings;

/// <summary>
/// How the configuration names a device: by its VM, which has a name, a uuid and for the time that it runs a domain id,
/// and the virtual device; or by its image.
/// </summary>
/// <param name="Vm">The domain id, the uuid in lower case, or the name; null with an image.</param>
/// <param name="Number">The virtual device; null with an image.</param>
/// <param name="Image">An absolute path; null with a VM.</param>
internal sealed record DeviceKey(string? Vm, int? Number, string? Image)
{
    /// <returns>The error for a text that names no device.</returns>
    public static string Advice(string text) =>
        $"'{text}' is not a device: give the guest's name, uuid or domain id and the virtual device, such as web1/xvda "
        + "or 7/xvda, or the path of the image";

    public static DeviceKey Parse(string text) => TryParse(text) ?? throw new FormatException(Advice(text));

    /// <returns>Null for a text that names no device.</returns>
    public static DeviceKey? TryParse(string text)
    {
        if (text is ['/', _, ..])
            return new DeviceKey(null, null, text);
        int slash = text.LastIndexOf('/');
        if (slash <= 0 || !DeviceName.TryParseVirtualDevice(text[(slash + 1)..], out int number))
            return null;
        string vm = text[..slash];
        return new DeviceKey(Guid.TryParseExact(vm, "D", out _) ? vm.ToLowerInvariant() : vm, number, null);
    }

    /// <summary>All keys of a device, the one that counts most first: that of what runs now.</summary>
    public static IEnumerable<DeviceKey> Of(DeviceIdentity device)
    {
        string?[] names =
        [
            device.Id.Frontend.Value.ToString(CultureInfo.InvariantCulture),
            device.VmUuid,
            device.VmName,
        ];
        foreach (string? name in names)
            if (name is not null)
                yield return new DeviceKey(name, device.Id.Number, null);
        if (device.ImagePath is { } image)
            yield return new DeviceKey(null, null, image);
    }
}
