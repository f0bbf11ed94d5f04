using System.Globalization;
using Blkring.Engine.Hypervisor;

namespace Blkring.Settings;

/// <summary>
/// A device as users name it: the frontend's domain and the virtual device, by number (7/51712) or by name (7/xvda).
/// Names and numbers are those of xen-vbd-interface(7).
/// </summary>
internal readonly record struct DeviceName(DomainId Frontend, int Number)
{
    private const int XvdMajor = 202,
        ScsiMajor = 8,
        Ide0Major = 3,
        Ide1Major = 22;

    // Disks beyond xvdp and partitions beyond 15: bit 28, 20 bits of disk, 8 of partition.
    private const int Extended = 1 << 28;
    private const int MaxExtendedDisks = 1 << 20,
        MaxExtendedPartitions = 256,
        MaxPartitions = 16,
        MaxIdePartitions = 64;

    public static DeviceName Parse(string text) =>
        TryParse(text, out DeviceName device) ? device : throw new FormatException(Advice(text));

    /// <returns>The error for a text that names no device.</returns>
    public static string Advice(string text) =>
        $"'{text}' is not a device: give the guest's domain id and the virtual device, such as 7/xvda or 7/51712";

    public static bool TryParse(string text, out DeviceName device)
    {
        device = default;
        int slash = text.IndexOf('/', StringComparison.Ordinal);
        if (
            slash <= 0
            || !ushort.TryParse(
                text.AsSpan(0, slash),
                NumberStyles.None,
                CultureInfo.InvariantCulture,
                out ushort domain
            )
        )
            return false;
        if (!TryParseVirtualDevice(text[(slash + 1)..], out int number))
            return false;
        device = new DeviceName(new DomainId(domain), number);
        return true;
    }

    /// <summary>51712, 0xca00, xvda, xvda1, sdb, hdc2 or d0p1.</summary>
    public static bool TryParseVirtualDevice(string text, out int number)
    {
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number))
            return true;
        if (text.StartsWith("0x", StringComparison.Ordinal))
            return int.TryParse(
                    text.AsSpan(2),
                    NumberStyles.AllowHexSpecifier,
                    CultureInfo.InvariantCulture,
                    out number
                )
                && number >= 0;
        return TryParseName(text, out string kind, out int disk, out int partition)
            && TryNumber(kind, disk, partition, out number);
    }

    /// <returns>The name of a virtual device, such as xvda for 51712; the number if it has no name.</returns>
    public static string NameOf(int number)
    {
        int minor = number & 0xff;
        return (number >> 8) switch
        {
            XvdMajor => Name("xvd", minor >> 4, minor & 15),
            ScsiMajor => Name("sd", minor >> 4, minor & 15),
            Ide0Major => minor < 128 ? Name("hd", minor >> 6, minor & 63) : Text(number),
            Ide1Major => minor < 128 ? Name("hd", 2 + (minor >> 6), minor & 63) : Text(number),
            _ => (number & ~(Extended - 1)) == Extended
                ? Name("xvd", (number >> 8) & (MaxExtendedDisks - 1), minor)
                : Text(number),
        };
    }

    public override string ToString() => $"{Frontend}/{Text(Number)}";

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    private static string Name(string kind, int disk, int partition)
    {
        string letters = "";
        for (int rest = disk; rest >= 0; rest = rest / 26 - 1)
            letters = (char)('a' + rest % 26) + letters;
        return kind + letters + (partition == 0 ? "" : Text(partition));
    }

    private static bool TryParseName(string text, out string kind, out int disk, out int partition)
    {
        (kind, disk, partition) = ("", 0, 0);
        string rest;
        if (text is ['d', >= '0' and <= '9', ..])
        {
            int p = text.IndexOf('p', StringComparison.Ordinal);
            kind = "d";
            return int.TryParse(
                    text.AsSpan(1, (p < 0 ? text.Length : p) - 1),
                    NumberStyles.None,
                    CultureInfo.InvariantCulture,
                    out disk
                )
                && (
                    p < 0
                    || int.TryParse(text.AsSpan(p + 1), NumberStyles.None, CultureInfo.InvariantCulture, out partition)
                );
        }
        if (text.StartsWith("xvd", StringComparison.Ordinal))
            (kind, rest) = ("xvd", text[3..]);
        else if (text.StartsWith("sd", StringComparison.Ordinal))
            (kind, rest) = ("sd", text[2..]);
        else if (text.StartsWith("hd", StringComparison.Ordinal))
            (kind, rest) = ("hd", text[2..]);
        else
            return false;

        string letters = new([.. rest.TakeWhile(char.IsAsciiLetterLower)]);
        string digits = rest[letters.Length..];
        // Names of more than five letters have no number.
        if (letters.Length is 0 or > 5 || digits.StartsWith('0'))
            return false;
        disk = letters.Aggregate(0, (sum, letter) => sum * 26 + letter - 'a' + 1) - 1;
        return digits.Length == 0
            || int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out partition);
    }

    private static bool TryNumber(string kind, int disk, int partition, out int number)
    {
        number = kind switch
        {
            "sd" when disk < 16 && partition < MaxPartitions => (ScsiMajor << 8) | (disk << 4) | partition,
            "hd" when disk < 2 && partition < MaxIdePartitions => (Ide0Major << 8) | (disk << 6) | partition,
            "hd" when disk < 4 && partition < MaxIdePartitions => (Ide1Major << 8) | ((disk - 2) << 6) | partition,
            "xvd" or "d" when disk < 16 && partition < MaxPartitions => (XvdMajor << 8) | (disk << 4) | partition,
            "xvd" or "d" when disk < MaxExtendedDisks && partition < MaxExtendedPartitions => Extended
                | (disk << 8)
                | partition,
            _ => -1,
        };
        return number >= 0;
    }
}
