using System.Buffers.Binary;
using System.Globalization;
using Blkring.Interop;

namespace Blkring.Commands.Opener;

/// <summary>
/// Gives the daemon's group access to Xen's devices and to xenstored's socket, which the kernel and xenstored make for
/// root alone, and make anew. By an access control list (acl(5)): owner, group and the others' rights stay.
/// </summary>
/// <param name="group">The numeric id; 0, root's own, needs nothing.</param>
internal sealed class XenAccess(uint group, IReadOnlyList<string> paths)
{
    /// <summary>The socket of xenstored unless XENSTORED_PATH names another.</summary>
    private const string StoreSocket = "/run/xenstored/socket";

    // linux/posix_acl_xattr.h, linux/posix_acl.h
    private const string Attribute = "system.posix_acl_access";
    private const uint Version = 2;
    private const ushort UserObject = 0x01,
        GroupObject = 0x04,
        Group = 0x08,
        Mask = 0x10,
        Other = 0x20;
    private const ushort ReadWrite = 6;
    private const uint NoId = uint.MaxValue;
    private const int EntryBytes = 8;

    /// <summary>For the group of this process: a unit gives it the daemon's.</summary>
    public static XenAccess OfProcess() =>
        new(
            Libc.Getegid(),
            [
                XenLibraries.EvtchnDevice,
                XenLibraries.GnttabDevice,
                XenLibraries.StoreDevice,
                Environment.GetEnvironmentVariable("XENSTORED_PATH") is { Length: > 0 } path ? path : StoreSocket,
            ]
        );

    /// <returns>What could not be done, a line each. A path that does not exist is no error.</returns>
    public IReadOnlyList<string> Grant()
    {
        if (group == 0)
            return [];
        byte[] list = Encode();
        List<string> problems = [];
        foreach (string path in paths)
            if (Libc.Setxattr(path, Attribute, list) is var result and < 0 && result != -Errno.ENOENT)
                problems.Add(
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"group {group} gets no access to {path}: {Errno.Describe(result)}"
                    )
                );
        return problems;
    }

    private byte[] Encode()
    {
        (ushort Tag, ushort Rights, uint Id)[] entries =
        [
            (UserObject, ReadWrite, NoId),
            (GroupObject, 0, NoId),
            (Group, ReadWrite, group),
            (Mask, ReadWrite, NoId),
            (Other, 0, NoId),
        ];
        byte[] list = new byte[sizeof(uint) + (entries.Length * EntryBytes)];
        BinaryPrimitives.WriteUInt32LittleEndian(list, Version);
        Span<byte> at = list.AsSpan(sizeof(uint));
        foreach ((ushort tag, ushort rights, uint id) in entries)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(at, tag);
            BinaryPrimitives.WriteUInt16LittleEndian(at[2..], rights);
            BinaryPrimitives.WriteUInt32LittleEndian(at[4..], id);
            at = at[EntryBytes..];
        }
        return list;
    }
}
