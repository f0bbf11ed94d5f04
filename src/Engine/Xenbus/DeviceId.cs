using System.Globalization;
using Blkring.Engine.Hypervisor;

namespace Blkring.Engine.Xenbus;

/// <summary>Which device: the frontend's domain and the device number, as both areas' paths end: 7/51712.</summary>
public readonly record struct DeviceId(DomainId Frontend, int Number)
{
    /// <summary>Domain numbers from here on are no domains (DOMID_FIRST_RESERVED of xen.h).</summary>
    private const ushort FirstReservedDomain = 0x7ff0;

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Frontend}/{Number}");

    /// <summary>Takes the text form; false for anything else, also for numbers that no domain or device has.</summary>
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
            || frontend >= FirstReservedDomain
        )
            return false;
        if (!int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int device))
            return false;
        id = new DeviceId(new DomainId(frontend), device);
        // One device has one name: 007 is not 7.
        return id.ToString().Length == domain.Length + 1 + number.Length;
    }
}
