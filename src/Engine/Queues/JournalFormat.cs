using System.Runtime.CompilerServices;
using Blkring.Abi;

namespace Blkring.Engine.Queues;

/// <summary>
/// The versions of the journal's file that this daemon reads: its own (abi/journal.xml), and the two before it,
/// version 2 and version 1 (abi/journal_v1.xml), whose content it brings into its own form. No other version is
/// followed.
/// </summary>
internal static unsafe class JournalFormat
{
    /// <summary>
    /// Version 2: the layout of this one, but for the last members of the header, which are zeros in its files.
    /// </summary>
    private const uint Version2 = 2;
    private const ulong FingerprintOfVersion2 = 0x06695cbdb555a9f3;

    /// <summary>What the two members that no version moves, magic and version, say about a file.</summary>
    /// <returns>0 for what is no journal.</returns>
    public static uint VersionOf(ReadOnlySpan<byte> file)
    {
        if (file.Length < Journal.HeaderBytes)
            return 0;
        Journal.Header head = Unsafe.ReadUnaligned<Journal.Header>(in file[0]);
        return head.Magic == Journal.Magic ? head.Version : 0;
    }

    /// <summary>The length of a file of <paramref name="records"/> records.</summary>
    public static long LengthOf(long records) => Journal.HeaderBytes + (records * sizeof(Journal.Record));

    /// <summary>A header of this version. It does not say that the records are in use.</summary>
    public static Journal.Header HeaderOf(RingIdentity identity, JournalSize size, uint rspProd) =>
        new()
        {
            Magic = Journal.Magic,
            Version = Journal.Version,
            RecordBytes = (uint)sizeof(Journal.Record),
            Fingerprint = Journal.LayoutFingerprint,
            RecordCount = (uint)size.Slots,
            MaxIndirectSegments = (uint)size.MaxIndirectSegments,
            Frontend = identity.Frontend.Value,
            Protocol = (byte)NumberOf(identity.Protocol),
            RingPages = (uint)identity.RingPages,
            RingGref = identity.Ring.Value,
            EventChannel = (uint)identity.EventChannel.Value,
            RspProd = rspProd,
        };

    /// <summary>Makes a file of version 2 one of this version; harmless to any other.</summary>
    /// <remarks>Killed between the two stores, a daemon leaves a file that this reads as well.</remarks>
    public static void AdoptVersion2(ref Journal.Header head)
    {
        if (head.Version != Version2 || head.Fingerprint is not (FingerprintOfVersion2 or Journal.LayoutFingerprint))
            return;
        Volatile.Write(ref head.Fingerprint, Journal.LayoutFingerprint);
        Volatile.Write(ref head.Version, Journal.Version);
    }

    /// <summary>
    /// The records have the layout of this daemon. A development build may have changed it and kept the version.
    /// </summary>
    public static bool IsOwn(in Journal.Header head, long lengthBytes) =>
        head.Version == Journal.Version
        && head.Fingerprint == Journal.LayoutFingerprint
        && lengthBytes >= LengthOf(head.RecordCount);

    /// <summary>
    /// The file is of that ring. From version 2 on no version moves what says so, and whether its records are in use:
    /// where nothing is under way, any version can go on.
    /// </summary>
    public static bool IsOf(in Journal.Header head, RingIdentity identity) =>
        Names(identity, head.Frontend, head.Protocol, head.RingPages, head.RingGref, head.EventChannel);

    /// <summary>What a file of version 1 says of that ring; never <see cref="JournalState.Missing"/>.</summary>
    public static JournalState StateOfVersion1(ReadOnlySpan<byte> old, RingIdentity identity)
    {
        JournalV1.Header head = Unsafe.ReadUnaligned<JournalV1.Header>(in old[0]);
        bool ours = Names(identity, head.Frontend, head.Protocol, head.RingPages, head.RingGref, head.EventChannel);
        return !ours ? JournalState.Foreign
            : head.InUse == 0 ? JournalState.Drained
            : JournalState.Left;
    }

    /// <summary>Brings a file of version 1, the live slots of blkring 0.1.0, into the form of this version.</summary>
    /// <param name="rspProd">The ring's rsp_prod, which version 1 does not have.</param>
    /// <returns>The whole new file; null when the old file cannot be true.</returns>
    public static byte[]? FromVersion1(ReadOnlySpan<byte> old, RingIdentity identity, uint rspProd)
    {
        JournalV1.Header head = Unsafe.ReadUnaligned<JournalV1.Header>(in old[0]);
        Journal.Header own = HeaderOf(
            identity,
            new JournalSize((int)head.SlotCount, (int)head.MaxIndirectSegments),
            rspProd
        );
        long length = JournalV1.HeaderBytes + ((long)head.SlotCount * sizeof(JournalV1.Slot));
        if (head.SlotBytes != sizeof(JournalV1.Slot) || head.SlotCount > ushort.MaxValue || old.Length < length)
            return null;

        byte[] file = new byte[LengthOf(head.SlotCount)];
        own.InUse = 1;
        Unsafe.WriteUnaligned(ref file[0], own);
        for (int i = 0; i < (int)head.SlotCount; i++)
        {
            JournalV1.Slot slot = Unsafe.ReadUnaligned<JournalV1.Slot>(
                in old[JournalV1.HeaderBytes + (i * sizeof(JournalV1.Slot))]
            );
            Journal.Record record = new()
            {
                // The two versions number the states alike.
                State = slot.Record,
                IsIndirect = slot.IsIndirect,
                RequestIndex = slot.RequestIndex,
                ResponseIndex = slot.ResponseIndex,
                Request = Unsafe.ReadUnaligned<Journal.Request>(in slot.Request[0]),
            };
            Unsafe.WriteUnaligned(ref file[Journal.HeaderBytes + (i * sizeof(Journal.Record))], record);
        }
        return file;
    }

    /// <summary>The members of a header, which every version has, name that ring.</summary>
    private static bool Names(
        RingIdentity identity,
        ushort frontend,
        uint protocol,
        uint ringPages,
        uint ringGref,
        uint eventChannel
    ) =>
        frontend == identity.Frontend.Value
        && protocol == (uint)NumberOf(identity.Protocol)
        && ringPages == (uint)identity.RingPages
        && ringGref == identity.Ring.Value
        && eventChannel == (uint)identity.EventChannel.Value;

    private static int NumberOf(BlkifProtocol protocol) =>
        protocol switch
        {
            BlkifProtocol.X86_32 => Journal.ProtocolX86_32,
            BlkifProtocol.X86_64 => Journal.ProtocolX86_64,
            _ => Journal.ProtocolNative,
        };
}
