using System.Runtime.InteropServices;
using Blkring.Interop;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Xen;

/// <summary>What the fake libraries can be told to fail at: enum fail of fakexen.c.</summary>
internal enum FakeFailure
{
    EvtchnOpen,
    GnttabOpen,
    MaxGrants,
    Copy,
    Notify,
    Map,
    Unmap,
}

/// <summary>What the fake libraries count: enum count of fakexen.c. The first three are what is held now.</summary>
internal enum FakeCount
{
    Mapped,
    Bound,
    Handles,
    Copies,
    Notifies,
    Pendings,
    EmptyPendings,
    Unmasks,
}

/// <summary>libxenevtchn and libxengnttab of this process replaced by fakexen.c, built at first use.</summary>
internal static unsafe class FakeXen
{
    private static readonly nint s_library = Load();
    private static readonly delegate* unmanaged[Cdecl]<int, int, void> s_fail = (delegate* unmanaged[Cdecl]<
        int,
        int,
        void>)
        NativeLibrary.GetExport(s_library, "fake_fail");
    private static readonly delegate* unmanaged[Cdecl]<int, int> s_count = (delegate* unmanaged[Cdecl]<int, int>)
        NativeLibrary.GetExport(s_library, "fake_count");

    /// <summary>0 for errno lets the call succeed again.</summary>
    public static void Fail(FakeFailure what, int errno) => s_fail((int)what, errno);

    public static int Count(FakeCount what) => s_count((int)what);

    /// <summary>Makes the domain the only guest, with all its event channels.</summary>
    public static void Attach(LoopbackDomain domain)
    {
        GuestMemory memory = domain.Memory;
        var guest = (delegate* unmanaged[Cdecl]<ushort, int, ulong, void*, uint, void*, uint, void>)
            NativeLibrary.GetExport(s_library, "fake_guest");
        guest(
            domain.Id.Value,
            memory.Descriptor,
            (ulong)memory.OffsetOf(0),
            memory.Table,
            (uint)memory.Grants,
            memory.FirstFrame,
            (uint)memory.Frames
        );
        var port = (delegate* unmanaged[Cdecl]<uint, int, int, void>)NativeLibrary.GetExport(s_library, "fake_port");
        foreach (LoopbackChannel channel in domain.Channels)
            port(channel.Port.Value, channel.Outgoing.Value, channel.Incoming.Value);
        foreach (FakeFailure what in Enum.GetValues<FakeFailure>())
            Fail(what, 0);
    }

    private static nint Load()
    {
        // Loaded libraries outlive their files.
        using TempDirectory directory = new();
        string library = directory.PathOf("fakexen.so");
        CCompiler.BuildLibrary(library, "tests/Engine/Xen/fakexen.c");
        nint handle = NativeLibrary.Load(library);
        NativeLibrary.SetDllImportResolver(
            typeof(LibXenEvtchn).Assembly,
            (name, _, _) => name is XenLibraries.EvtchnLibrary or XenLibraries.GnttabLibrary ? handle : 0
        );
        return handle;
    }
}
