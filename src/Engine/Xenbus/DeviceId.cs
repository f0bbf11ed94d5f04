using System.Globalization;
using Blkring.Engine.Hypervisor;

namespace Blkring.Engine.Xenbus;

/// <summary>
/// A device: the frontend's domain and the device number, as at the end of both areas' paths: 7/51712.
/// </summary>
public readonly record struct DeviceId(DomainId Frontend, int Number)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Frontend}/{Number}");

    /// <returns>False for any other text, and for numbers that no domain or device has.</returns>
    public static bool TryParse(string text, out DeviceId id)
    {
        id = default;
        int slash = text.IndexOf('/', StringComparison.Ordinal);
        return slash > 0 && TryParse(text.AsSpan(0, slash), text.AsSpan(slash + 1), out id);
    }

    internal static bool TryParse(ReadOnlySpan<char> domain, ReadOnlySpan<char> number, out DeviceId id)
    {
        id = default;
        if (
            !ushort.TryParse(domain, NumberStyles.None, CultureInfo.InvariantCulture, out ushort frontend)
            || frontend >= DomainId.FirstReserved
        )
            return false;
        if (!int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int device))
            return false;
        id = new DeviceId(new DomainId(frontend), device);
        // One device has one name: 007 is not 7.
        return id.ToString().Length == domain.Length + 1 + number.Length;
    }
}
