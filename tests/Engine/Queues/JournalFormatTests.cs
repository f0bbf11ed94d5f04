using System.Runtime.InteropServices;
using Blkring.Abi;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Memory;
using Blkring.Engine.Queues;
using Blkring.Engine.Tests.Kit;

namespace Blkring.Engine.Tests.Queues;

/// <summary>The bytes of the journal's file: its own version's, and those of the version before it.</summary>
public sealed unsafe class JournalFormatTests
{
    private static readonly RingIdentity s_ring = new(
        new DomainId(7),
        BlkifProtocol.X86_32,
        2,
        new GrantReference(8),
        new EventChannelPort(9)
    );

    /// <summary>
    /// Changed the layout? Raise JOURNAL_VERSION in abi/journal.xml, keep a reader of the version before
    /// (JournalFormat), and add the new line here.
    /// </summary>
    [Fact]
    public void Each_version_has_one_layout()
    {
        Dictionary<int, ulong> fingerprints = new()
        {
            [1] = 0x637c7d2ce4e0b8faUL,
            [2] = 0x06695cbdb555a9f3UL,
            [3] = 0xd377c20512bd617cUL,
        };
        Assert.Equal(Journal.LayoutFingerprint, fingerprints[Journal.Version]);
        Assert.Equal(JournalV1.LayoutFingerprint, fingerprints[JournalV1.Version]);
    }

    [Fact]
    public void The_bytes_of_a_file_are_those_written_down()
    {
        Journal.Header head = JournalFormat.HeaderOf(s_ring, new JournalSize(32, 256), 0x44332211);
        Assert.Equal(
            "42524E474A524E4C"
                + "03000000"
                + "C0000000"
                + Hex(Journal.LayoutFingerprint)
                + "20000000"
                + "00010000"
                + "0700"
                + "01"
                + "00"
                + "02000000"
                + "08000000"
                + "09000000"
                + "00000000"
                + "11223344"
                + "00000000000000000000000000000000",
            Convert.ToHexString(MemoryMarshal.AsBytes(new ReadOnlySpan<Journal.Header>(in head)))
        );
        Journal.Record record = default;
        Fill(ref record.Decoded());
        record.MarkTaken(0x11223344);
        record.MarkIndirect(Blkif.OpWrite);
        record.MarkAnswered(0x55667788);
        ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(new ReadOnlySpan<Journal.Record>(in record));
        Assert.Equal(192, bytes.Length);
        Assert.Equal(
            "02010000"
                + "44332211"
                + "88776655"
                + "00000000"
                + "01"
                + "00"
                + "0B00"
                + "0300"
                + "0000"
                + "0807060504030201"
                + "1817161514131211"
                + "A1A2A3A4"
                + "0107"
                + "0000",
            Convert.ToHexString(bytes[..48])
        );
        Assert.Equal("5A", Convert.ToHexString(bytes[(16 + 112)..(16 + 113)]));
        Assert.Equal(
            "2827262524232221" + "01" + "000000" + "B4B3B2B1",
            Convert.ToHexString(bytes[(16 + 120)..(16 + 136)])
        );
    }

    /// <summary>A file as blkring 0.1.0 wrote it: a page of header, then slots of 320 bytes.</summary>
    [Fact]
    public void What_version_1_left_is_brought_into_the_form_of_this_one()
    {
        byte[] old = Version1(slots: 4);
        byte[] file = JournalFormat.FromVersion1(old, s_ring, 78)!;
        Assert.Equal(JournalFormat.LengthOf(4), file.Length);
        Journal.Header head = MemoryMarshal.Read<Journal.Header>(file);
        Assert.True(JournalFormat.IsOf(in head, s_ring));
        Assert.Equal((4u, 256u, (uint)Journal.Version), (head.RecordCount, head.MaxIndirectSegments, head.Version));
        Journal.Record record = MemoryMarshal.Read<Journal.Record>(file.AsSpan(Journal.HeaderBytes + (2 * 192)));
        Assert.Equal((2, 1, 77u, 78u), (record.State, record.IsIndirect, record.RequestIndex, record.ResponseIndex));
        Blkif.DecodedRequest expected = default;
        Fill(ref expected);
        Assert.Equal(
            MemoryMarshal.AsBytes(new ReadOnlySpan<Blkif.DecodedRequest>(in expected)),
            MemoryMarshal.AsBytes(new ReadOnlySpan<Blkif.DecodedRequest>(in record.Decoded()))
        );
        Assert.Equal(Journal.RecordFree, MemoryMarshal.Read<Journal.Record>(file.AsSpan(Journal.HeaderBytes)).State);
    }

    [Fact]
    public void What_version_1_left_of_another_ring_or_drained_is_told_apart_and_what_cannot_be_true_is_refused()
    {
        Assert.Equal(JournalState.Left, JournalFormat.StateOfVersion1(Version1(4), s_ring));
        Assert.Equal(
            JournalState.Foreign,
            JournalFormat.StateOfVersion1(Version1(4), s_ring with { Ring = new GrantReference(9) })
        );
        byte[] drained = Version1(4);
        drained[44] = 0;
        Assert.Equal(JournalState.Drained, JournalFormat.StateOfVersion1(drained, s_ring));
        Assert.Null(JournalFormat.FromVersion1(Version1(4).AsSpan()[..^1], s_ring, 0));
        byte[] longer = Version1(4);
        longer[12]++;
        Assert.Null(JournalFormat.FromVersion1(longer, s_ring, 0));
    }

    [Theory]
    [InlineData(0x06695cbdb555a9f3UL)]
    // Killed while it raised the version, a daemon leaves this.
    [InlineData(Journal.LayoutFingerprint)]
    public void A_file_of_version_2_is_one_of_this_version_when_its_header_says_so(ulong fingerprint)
    {
        using TempImage folder = new(8);
        string path = folder.PathOf("journal");
        using (RingJournal own = new(path, s_ring))
        {
            own.Begin(new JournalSize(4, 256), 78);
            own.Records[2].MarkTaken(79);
        }
        byte[] file = File.ReadAllBytes(path);
        fixed (byte* start = file)
            (((Journal.Header*)start)->Version, ((Journal.Header*)start)->Fingerprint) = (2, fingerprint);
        File.WriteAllBytes(path, file);

        using RingJournal journal = new(path, s_ring);
        Assert.Equal(new JournalFinding(JournalState.Left, new JournalSize(4, 256)), journal.OpenExisting(78, 32));
        Assert.Equal((1, 79u), (journal.Records[2].State, journal.Records[2].RequestIndex));
        Assert.Equal((uint)Journal.Version, JournalFormat.VersionOf(File.ReadAllBytes(path)));
    }

    [Fact]
    public void Crashes_are_counted_while_they_are_over_the_same_request()
    {
        using TempImage folder = new(8);
        using RingJournal journal = new(folder.PathOf("journal"), s_ring);
        journal.Begin(new JournalSize(4, 256), 78);
        journal.Records[1].MarkTaken(79);
        journal.Records[2].MarkTaken(80);
        Crash(2);
        Crash(2);
        Crash(1);
        // Nothing was worked on, or a slot without a request: nobody is to blame.
        *journal.WorkingOn = 0;
        Assert.Null(journal.TakeSuspect(crashed: true, SuspectDecision.None));
        Crash(0);
        Crash(1);
        // A kill in the middle of the request is no crash.
        *journal.WorkingOn = 2;
        Assert.Null(journal.TakeSuspect(crashed: false, SuspectDecision.None));
        Assert.Equal(0u, *journal.WorkingOn);
        *journal.WorkingOn = 2;
        VbdConnectException error = Assert.Throws<VbdConnectException>(() =>
            journal.TakeSuspect(crashed: true, SuspectDecision.None)
        );
        Assert.Equal(Blkring.Engine.Errors.ErrorCode.RequestQuarantined, error.Error.Code);
        Assert.Throws<VbdConnectException>(() => journal.TakeSuspect(crashed: false, SuspectDecision.None));
        Assert.Equal(79u, journal.TakeSuspect(crashed: false, SuspectDecision.Fail));
        Assert.Null(journal.TakeSuspect(crashed: false, SuspectDecision.None));

        void Crash(uint record)
        {
            *journal.WorkingOn = record + 1;
            Assert.Null(journal.TakeSuspect(crashed: true, SuspectDecision.None));
        }
    }

    [Fact]
    public void The_next_daemon_finds_what_version_1_left_and_so_does_the_one_after_it()
    {
        using TempImage folder = new(8);
        string path = folder.PathOf("journal");
        File.WriteAllBytes(path, Version1(slots: 4));
        for (int daemon = 0; daemon < 2; daemon++)
        {
            using RingJournal journal = new(path, s_ring);
            Assert.Equal(new JournalFinding(JournalState.Left, new JournalSize(4, 256)), journal.OpenExisting(78, 32));
            Assert.Equal((2, 77u), (journal.Records[2].State, journal.Records[2].RequestIndex));
            Assert.Equal((uint)Journal.Version, JournalFormat.VersionOf(File.ReadAllBytes(path)));
        }
        Assert.False(File.Exists(path + ".new"));
    }

    [Fact]
    public void A_layout_of_this_version_that_is_not_this_ones_is_refused()
    {
        using TempImage folder = new(8);
        string path = folder.PathOf("journal");
        using (RingJournal journal = new(path, s_ring))
            journal.Begin(new JournalSize(4, 0), 0);
        byte[] file = File.ReadAllBytes(path);
        file[16] ^= 1;
        File.WriteAllBytes(path, file);
        using RingJournal next = new(path, s_ring);
        Assert.Throws<VbdConnectException>(() => next.OpenExisting(0, 32));
    }

    /// <summary>Written by the offsets of commit f790e22, not by the spec: the spec is what is tested.</summary>
    private static byte[] Version1(int slots)
    {
        const int SlotBytes = 320;
        byte[] file = new byte[Arena.PageBytes + (slots * SlotBytes)];
        Span<byte> head = file;
        MemoryMarshal.Write(head, 0x4C4E524A474E5242UL);
        uint[] words = [1, SlotBytes, (uint)slots, 256, 7, 1, 2, 8, 9, 1];
        MemoryMarshal.AsBytes(words.AsSpan()).CopyTo(head[8..]);
        Span<byte> slot = head[(Arena.PageBytes + (2 * SlotBytes))..];
        (slot[50], slot[51]) = (2, 1);
        MemoryMarshal.Write(slot[52..], 77u);
        MemoryMarshal.Write(slot[56..], 78u);
        Blkif.DecodedRequest request = default;
        Fill(ref request);
        MemoryMarshal.AsBytes(new ReadOnlySpan<Blkif.DecodedRequest>(in request)).CopyTo(slot[64..]);
        return file;
    }

    private static void Fill(ref Blkif.DecodedRequest request)
    {
        request.Operation = (byte)Blkif.OpWrite;
        request.NrSegments = 11;
        request.Handle = 3;
        request.Id = 0x0102030405060708;
        request.SectorNumber = 0x1112131415161718;
        request.Seg[0] = new Blkif.RequestSegment
        {
            Gref = 0xA4A3A2A1,
            FirstSect = 1,
            LastSect = 7,
        };
        request.Flag = 0x5A;
        request.NrSectors = 0x2122232425262728;
        request.IndirectOp = (byte)Blkif.OpWrite;
        request.IndirectGrefs[0] = 0xB1B2B3B4;
    }

    private static string Hex(ulong value) => Convert.ToHexString(BitConverter.GetBytes(value));
}
