using System.Runtime.InteropServices;
using Blkring.Abi;

namespace Blkring.Engine.Queues;

/// <summary>The three ABIs a frontend may speak (blkif.h, the key <c>protocol</c>; protocols.h).</summary>
public enum BlkifProtocol
{
    Native,
    X86_32,
    X86_64,
}

public static class BlkifProtocols
{
    /// <summary>The number of entries of a ring, in the ABI with the smallest entries.</summary>
    public static int MaxEntries(int ringPages) => Blkif.BackRing<Blkif.X86_32>.EntryCountFor(ringPages);

    /// <summary>
    /// The <c>protocol</c> name that means "laid out as this host lays it out" (XEN_IO_PROTO_ABI_NATIVE).
    /// </summary>
    public static string NativeName => NameOfHost(RuntimeInformation.ProcessArchitecture);

    /// <summary>
    /// The names that <see cref="TryParse(string, out BlkifProtocol)"/> takes on this host, for people.
    /// </summary>
    public static string ServedNames =>
        string.Join(" and ", new[] { Blkif.XenIoProtoAbiX86_32, Blkif.XenIoProtoAbiX86_64, NativeName }.Distinct());

    /// <summary>
    /// The ABI that a frontend's <c>protocol</c> key selects. An absent key means x86_32 on x86 hosts, even for a
    /// 64-bit guest, as Linux and QEMU read it (B22), and the native ABI elsewhere.
    /// </summary>
    /// <param name="key">The key's value, or null when the frontend wrote none.</param>
    /// <param name="protocol">The ABI; undefined when the result is false.</param>
    /// <returns>False for a name that is none of the known ones: the connection must be refused (B17).</returns>
    public static bool TryParse(string? key, out BlkifProtocol protocol) =>
        TryParse(key, RuntimeInformation.ProcessArchitecture, out protocol);

    internal static bool TryParse(string? key, Architecture host, out BlkifProtocol protocol)
    {
        bool x86 = host is Architecture.X64 or Architecture.X86;
        key ??= x86 ? Blkif.XenIoProtoAbiX86_32 : NameOfHost(host);

        if (key == NameOfHost(host))
            protocol = BlkifProtocol.Native;
        else if (key == Blkif.XenIoProtoAbiX86_32)
            protocol = BlkifProtocol.X86_32;
        else if (key == Blkif.XenIoProtoAbiX86_64)
            protocol = BlkifProtocol.X86_64;
        else
        {
            protocol = default;
            return false;
        }
        return true;
    }

    private static string NameOfHost(Architecture host) =>
        host switch
        {
            Architecture.X64 => Blkif.XenIoProtoAbiX86_64,
            Architecture.X86 => Blkif.XenIoProtoAbiX86_32,
            _ => Blkif.XenIoProtoAbiArm,
        };
}
