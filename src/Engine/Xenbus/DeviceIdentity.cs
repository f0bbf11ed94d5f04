namespace Blkring.Engine.Xenbus;

/// <summary>
/// Which device it is, beyond this run of its guest: a guest that reboots has another domain id, and the next guest may
/// have the one that it had.
/// </summary>
/// <param name="VmUuid">In lower case; null if the toolstack gave none.</param>
/// <param name="VmName">Null if the toolstack gave none.</param>
/// <param name="ImagePath">What the keys name; null for an empty drive.</param>
public sealed record DeviceIdentity(DeviceId Id, string? VmUuid = null, string? VmName = null, string? ImagePath = null)
{
    /// <summary>The same for each run of the guest; null if the toolstack names no VM.</summary>
    public string? Vm => VmUuid ?? VmName;

    internal static DeviceIdentity Read(IXenstore store, DeviceId id, string? imagePath)
    {
        string domain = $"/local/domain/{id.Frontend}";
        string? uuid = store.Read($"{domain}/vm") is ['/', 'v', 'm', '/', .. { Length: > 0 } text]
            ? text.Split('/')[0].ToLowerInvariant()
            : null;
        string? name = store.Read($"{domain}/name") is { Length: > 0 } found ? found : null;
        return new DeviceIdentity(id, uuid, name, imagePath);
    }
}
